package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast/holdfast/manager"
	"github.com/spf13/pflag"
)

func setupInspect(*pflag.FlagSet) action {
	return func(ctx context.Context, c *cli, args []string) error {
		return c.eachContainer(ctx, args, func(ctx context.Context, ct *manager.Container) error {
			info, err := ct.Inspect(ctx)
			if err != nil {
				return err
			}
			if c.json {
				return c.ui.object(info)
			}
			return c.ui.pretty(info)
		})
	}
}

func setupLabel(*pflag.FlagSet) action {
	return func(ctx context.Context, c *cli, args []string) error {
		set, remove, err := parseLabelArgs(args[1:])
		if err != nil {
			return err
		}
		ct, err := c.load(ctx, args[0])
		if err != nil {
			return err
		}
		defer ct.Close()
		if len(args) > 1 {
			return ct.SetLabels(ctx, set, remove...)
		}
		labels := ct.Labels()
		if c.json {
			return c.ui.object(labels)
		}
		for _, key := range slices.Sorted(maps.Keys(labels)) {
			c.ui.line("%s=%s", key, oneLine(labels[key]))
		}
		return nil
	}
}

// parseLabelArgs reads KEY=VALUE and KEY-.
func parseLabelArgs(args []string) (set map[string]string, remove []string, err error) {
	set = map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		name, minus := strings.CutSuffix(arg, "-")
		switch {
		case ok && key != "":
			set[key] = value
		case !ok && minus && name != "":
			remove = append(remove, name)
		default:
			return nil, nil, usage("label", "%q is neither KEY=VALUE nor KEY-", arg)
		}
	}
	for _, key := range remove {
		if _, both := set[key]; both {
			return nil, nil, usage("label", "%s is both set and removed", key)
		}
	}
	return set, remove, nil
}

func setupUpdate(fs *pflag.FlagSet) action {
	file := fs.String("resources", "", "read linux.resources of a runtime spec from this `file`, - is standard input")
	limits := newLimitFlags(fs)
	return func(ctx context.Context, c *cli, args []string) error {
		if *file == "" && !limits.given() {
			return usage("update", "nothing to change: give a limit or --resources")
		}
		if *file != "" && limits.given() {
			return usage("update", "--resources excludes the other limits")
		}
		if _, err := c.open(); err != nil {
			return err
		}
		r, err := limits.resources(*file, c.stdin)
		if err != nil {
			return err
		}
		ct, task, err := c.task(ctx, args[0])
		if err != nil {
			return err
		}
		defer ct.Close()
		return task.Update(ctx, r)
	}
}
