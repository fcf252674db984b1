package client_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/holdfast/holdfast/proto/client"
	"github.com/holdfast/holdfast/proto/task"
)

var errNotFound = status.Error(codes.NotFound, "process already finished: not found")

// handler is a method of the peer, from encoded request to encoded reply.
type handler func(ctx context.Context, payload []byte) ([]byte, error)

// peer is the library's own server on a socket.
type peer struct{ address string }

// serve serves methods as the task service for the length of the test.
func serve(t *testing.T, methods map[string]handler) *peer {
	t.Helper()
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	desc := &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{}}
	for name, handle := range methods {
		desc.Methods[name] = func(ctx context.Context, unmarshal func(any) error) (any, error) {
			// An Empty keeps all fields as unknown ones, so the bytes survive.
			var req emptypb.Empty
			if err := unmarshal(&req); err != nil {
				return nil, err
			}
			reply, err := handle(ctx, req.ProtoReflect().GetUnknown())
			resp := &emptypb.Empty{}
			resp.ProtoReflect().SetUnknown(reply)
			return resp, err
		}
	}
	server.RegisterService(task.ServiceV2, desc)
	address := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(context.Background(), listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return &peer{address}
}

// conn returns a bare connection, closed with the test.
func (p *peer) conn(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", p.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// dial returns a Client, closed with the test.
func (p *peer) dial(t *testing.T) *client.Client {
	t.Helper()
	c := client.New(p.conn(t))
	t.Cleanup(func() { c.Close() })
	return c
}

// socketPair returns the two ends of a connection, closed with the test.
func socketPair(t *testing.T) (ours, peer net.Conn) {
	t.Helper()
	address := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if ours, err = net.Dial("unix", address); err != nil {
		t.Fatal(err)
	}
	if peer, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); peer.Close() })
	return ours, peer
}
