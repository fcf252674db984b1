package shim

import (
	"context"
	"errors"

	"github.com/holdfast/holdfast/proto/wire"
	"github.com/holdfast/holdfast/shim/internal/container"
	"github.com/holdfast/holdfast/shim/internal/oci"
)

// codes is the only place where our errors become status codes. Order matters:
// the first match wins. What is not here, such as a failure of the OCI runtime,
// is Unknown: clients know its text, not its code.
var codes = []struct {
	err  error
	code wire.Code
}{
	{container.ErrNotFound, wire.NotFound},
	{container.ErrExists, wire.AlreadyExists},
	{container.ErrInvalid, wire.InvalidArgument},
	{container.ErrState, wire.FailedPrecondition},
	{oci.ErrUnsupported, wire.Unimplemented},
	{oci.ErrDeadline, wire.DeadlineExceeded},
	{context.DeadlineExceeded, wire.DeadlineExceeded},
	{context.Canceled, wire.Canceled},
}

// status gives err the code that clients act on; nil stays nil.
func status(err error) error {
	if err == nil {
		return nil
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return wire.Errorf(c.code, "%s", err.Error())
		}
	}
	return wire.Errorf(wire.Unknown, "%s", err.Error())
}
