package shim

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/holdfast/holdfast/proto/bootstrap"
	"github.com/holdfast/holdfast/proto/options"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/internal/oci"
)

// infoLimit bounds the OCI runtime's features verb, of which daemons wait at
// their own start.
const infoLimit = 5 * time.Second

// printInfo answers -info: who we are and what the OCI runtime can do. A
// runtime that is missing or has no features verb (crun before 1.9) leaves that
// part out: the shim itself is sound.
func (c *command) printInfo() error {
	raw, err := io.ReadAll(io.LimitReader(c.stdin, maxStdin))
	if err != nil {
		return fmt.Errorf("read options: %w", err)
	}
	info := bootstrap.RuntimeInfo{
		Name:    runtimeName,
		Version: &bootstrap.RuntimeVersion{Version: Version, Revision: Revision},
	}
	var rt options.Options
	if len(raw) > 0 {
		var opts types.Any
		if err := opts.Unmarshal(raw); err != nil {
			return fmt.Errorf("decode options: %w", err)
		}
		info.Options = &opts
		if err := runtimeOptions(&opts, &rt); err != nil {
			return err
		}
	}
	if features := readFeatures(rt.BinaryName); features != nil {
		info.Features = &types.Any{TypeUrl: options.TypeFeatures, Value: features}
	}
	out, err := info.Marshal()
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	_, err = c.stdout.Write(out)
	return err
}

// readFeatures returns what the OCI runtime says of itself, nil if nothing.
func readFeatures(binary string) []byte {
	r, err := reaper.New()
	if err != nil {
		return nil
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), infoLimit)
	defer cancel()
	features, err := (&oci.Runtime{Reaper: r, Binary: binary, Timeout: infoLimit}).Features(ctx)
	if err != nil {
		return nil
	}
	return features
}
