package client

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoiface"

	"github.com/holdfast/holdfast/proto/wire"
)

// message makes a wire.Message pass for a message of Google's runtime, which
// is what the ttrpc library takes. Of the many methods of the interface the
// runtime calls, to encode and decode, only those below; the embedded
// interface is nil, so that an interceptor that looks into a message panics.
type message struct {
	protoreflect.Message // nil
	wire                 wire.Message
}

var _ protoreflect.ProtoMessage = (*message)(nil)

// ProtoReflect returns m, which stands for both of its two roles.
func (m *message) ProtoReflect() protoreflect.Message { return m }

// Interface is the way back from ProtoReflect.
func (m *message) Interface() protoreflect.ProtoMessage { return m }

// IsValid says that m is not nil.
func (m *message) IsValid() bool { return true }

// Reset is called before decoding. Without it the runtime would go by
// descriptors.
func (m *message) Reset() { m.wire.Reset() }

// ProtoMethods hands the runtime the message's own way to encode and decode.
func (m *message) ProtoMethods() *protoiface.Methods {
	return &protoiface.Methods{
		Size: func(protoiface.SizeInput) protoiface.SizeOutput {
			return protoiface.SizeOutput{Size: m.wire.Size()}
		},
		Marshal: func(in protoiface.MarshalInput) (protoiface.MarshalOutput, error) {
			encoded, err := m.wire.Marshal()
			return protoiface.MarshalOutput{Buf: append(in.Buf, encoded...)}, err
		},
		Unmarshal: func(in protoiface.UnmarshalInput) (protoiface.UnmarshalOutput, error) {
			// Initialized: no field of proto3 is required.
			return protoiface.UnmarshalOutput{Flags: protoiface.UnmarshalInitialized}, m.wire.Unmarshal(in.Buf)
		},
		CheckInitialized: func(protoiface.CheckInitializedInput) (protoiface.CheckInitializedOutput, error) {
			return protoiface.CheckInitializedOutput{}, nil
		},
	}
}
