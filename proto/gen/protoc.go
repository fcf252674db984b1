package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/protoc-gen-gogo/descriptor"
)

// protoFiles returns the .proto files under dir, sorted.
func protoFiles(dir string) ([]string, error) {
	files, err := filesUnder(dir, ".proto")
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("find .proto files under %s: none (run from the root of the module)", dir)
	}
	return files, err
}

// removeOrphans deletes, or with check only finds, generated files that no
// .proto file stands behind any more.
func removeOrphans(dir string, want map[string]bool, check bool) (orphans []string, err error) {
	files, err := filesUnder(dir, ".pb.go")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if want[file] {
			continue
		}
		orphans = append(orphans, file)
		if check {
			continue
		}
		if err := os.Remove(file); err != nil {
			return nil, err
		}
	}
	return orphans, nil
}

func filesUnder(dir, suffix string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(name, suffix) {
			files = append(files, filepath.ToSlash(name))
		}
		return err
	})
	return files, err
}

// parse has protoc read files and returns their descriptors, with comments.
func parse(files []string) (*descriptor.FileDescriptorSet, error) {
	protoc, err := exec.LookPath("protoc")
	if err != nil {
		return nil, errors.New("run protoc: not found in PATH (the distribution's package is protobuf-compiler)")
	}
	dir, err := os.MkdirTemp("", "gen")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "set")
	args := append([]string{"-I.", "--include_imports", "--include_source_info", "--descriptor_set_out=" + out}, files...)
	cmd := exec.Command(protoc, args...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("run protoc: %w\n%s", err, text)
	}
	encoded, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	set := &descriptor.FileDescriptorSet{}
	if err := proto.Unmarshal(encoded, set); err != nil {
		return nil, fmt.Errorf("read protoc's descriptors: %w", err)
	}
	return set, nil
}
