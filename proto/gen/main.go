// Command gen writes the Go code of every .proto file under proto.
//
//	go run ./proto/gen            writes the *.pb.go files
//	go run ./proto/gen -check     writes nothing, exits 1 and names the files that are out of date
//
//	*.proto ──protoc──► descriptors ──names.go──► gogo's generator ──strip.go──► *.pb.go
//	                                              + service.go
//
// It must be run from the root of the module and needs protoc in PATH. Of
// gogo/protobuf it uses the generator only: the code that comes out imports
// the standard library and this module, registers nothing, and uses no
// reflection. It is a tool; nothing of it is linked into a program.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path"
	"slices"
)

// module is the import path of the directory gen is run in.
const module = "github.com/holdfast/holdfast"

func main() {
	check := flag.Bool("check", false, "write nothing; exit 1 and name the files that are out of date")
	flag.Parse()
	stale, err := run(*check)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
	if *check && len(stale) > 0 {
		for _, name := range stale {
			fmt.Fprintf(os.Stderr, "gen: %s is out of date\n", name)
		}
		fmt.Fprintln(os.Stderr, "gen: run `make proto`")
		os.Exit(1)
	}
}

// run generates everything and returns the names of the files that differed
// from what was on disk. Unless check is set it writes them.
func run(check bool) (stale []string, err error) {
	files, err := protoFiles("proto")
	if err != nil {
		return nil, err
	}
	set, err := parse(files)
	if err != nil {
		return nil, err
	}
	for _, file := range set.File {
		adorn(file)
	}
	want := map[string]bool{}
	for _, group := range byPackage(files) {
		out, err := generate(set, group)
		if err != nil {
			return nil, err
		}
		for name, code := range out {
			want[name] = true
			if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, code) {
				continue
			}
			stale = append(stale, name)
			if check {
				continue
			}
			if err := os.WriteFile(name, code, 0o644); err != nil {
				return nil, err
			}
		}
	}
	orphans, err := removeOrphans("proto", want, check)
	stale = append(stale, orphans...)
	slices.Sort(stale)
	return stale, err
}

// byPackage splits files, which are sorted, by their directory: gogo's
// generator makes one Go package at a time.
func byPackage(files []string) [][]string {
	var groups [][]string
	for _, file := range files {
		last := len(groups) - 1
		if last >= 0 && path.Dir(groups[last][0]) == path.Dir(file) {
			groups[last] = append(groups[last], file)
			continue
		}
		groups = append(groups, []string{file})
	}
	return groups
}
