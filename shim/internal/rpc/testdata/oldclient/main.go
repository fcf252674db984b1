// Oldclient calls a server with the last client library of the gogo
// generation, which cannot be linked beside the one of today. Its argument is
// the path of a socket; what differs from the expected goes to standard
// output.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"github.com/gogo/protobuf/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func main() {
	conn, err := net.Dial("unix", os.Args[1])
	if err != nil {
		fmt.Println(err)
		return
	}
	c := ttrpc.NewClient(conn)
	replies(c)
	errors(c)
	metadata(c)
	deadline(c)
	concurrent(c)
	c.Close()
}

func replies(c *ttrpc.Client) {
	for _, n := range []int{0, 1, 5000, 4<<20 - 100} {
		in := &types.Any{TypeUrl: "x", Value: make([]byte, n)}
		var out types.Any
		if err := c.Call(context.Background(), "test", "Echo", in, &out); err != nil || len(out.Value) != n {
			fmt.Printf("echo of %d bytes: %d, %v\n", n, len(out.Value), err)
		}
	}
	if err := c.Call(context.Background(), "test", "Empty", &types.Empty{}, &types.Empty{}); err != nil {
		fmt.Println("empty:", err)
	}
}

func errors(c *ttrpc.Client) {
	for _, want := range []struct {
		service, method, arg string
		code                 codes.Code
		text                 string
	}{
		{"nope", "Echo", "", codes.Unimplemented, "service nope"},
		{"test", "Nope", "", codes.Unimplemented, "method Nope"},
		{"test", "Fail", "coded", codes.NotFound, "no such thing"},
		{"test", "Fail", "garbled", codes.Unknown, "bad \uFFFD bytes"},
		{"test", "Nil", "", codes.Internal, "handler returned neither reply nor error"},
		{"test", "Panic", "", codes.Internal, "panic in test/Panic"},
		{"test", "Big", "4194304", codes.ResourceExhausted, "reply of 4194309 bytes"},
	} {
		err := c.Call(context.Background(), want.service, want.method, &types.Any{TypeUrl: want.arg}, &types.Any{})
		if s, ok := status.FromError(err); !ok || s.Code() != want.code || !strings.HasPrefix(s.Message(), want.text) {
			fmt.Printf("%s/%s(%s): %v\n", want.service, want.method, want.arg, err)
		}
	}
}

func metadata(c *ttrpc.Client) {
	md := ttrpc.MD{}
	md.Set("a", "1", "2")
	var out types.Any
	err := c.Call(ttrpc.WithMetadata(context.Background(), md), "test", "Metadata", &types.Empty{}, &out)
	if err != nil || string(out.Value) != "a=1;a=2;" {
		fmt.Printf("metadata: %q, %v\n", out.Value, err)
	}
}

func deadline(c *ttrpc.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := c.Call(ctx, "test", "Wait", &types.Empty{}, &types.Any{})
	if err != context.DeadlineExceeded && status.Code(err) != codes.DeadlineExceeded {
		fmt.Println("deadline:", err)
	}
}

func concurrent(c *ttrpc.Client) {
	var group sync.WaitGroup
	for i := range 500 {
		group.Add(1)
		go func() {
			defer group.Done()
			in := &types.Any{TypeUrl: fmt.Sprint(i)}
			var out types.Any
			if err := c.Call(context.Background(), "test", "Echo", in, &out); err != nil || out.TypeUrl != in.TypeUrl {
				fmt.Printf("echo %d: %q, %v\n", i, out.TypeUrl, err)
			}
		}()
	}
	group.Wait()
}
