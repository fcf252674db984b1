package cgroup

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// env is where things are. Tests put trees of their own there.
type env struct {
	proc string // procfs
	sys  string // sysfs
}

func linux() env { return env{proc: "/proc", sys: "/sys"} }

// groups returns the places of a process in the hierarchies where it has one
// of its own.
func (e env) groups(pid int) (map[string]group, error) {
	its, err := e.paths(strconv.Itoa(pid))
	if err != nil {
		return nil, err
	}
	ours, err := e.paths("self")
	if err != nil {
		return nil, err
	}
	table, err := readLines(e.proc+"/self/mountinfo", 4<<10, func(line []byte) bool {
		return bytes.Contains(line, []byte(" - cgroup"))
	})
	if err != nil {
		return nil, err
	}
	mounts := parseMounts(table)
	own := make(map[string]group, min(len(its), usual))
	var outside string
	for name, p := range its {
		our, known := ours[name]
		switch {
		case strings.HasPrefix(p, "/../") || p == "/..":
			outside = p
		case known && within(our, p):
			// Shared with us.
		default:
			if dir := locate(mounts, name, p); dir != "" {
				own[name] = group{path: p, dir: dir}
			}
		}
	}
	switch {
	case len(own) > 0:
		return own, nil
	case outside != "":
		return nil, fmt.Errorf("cgroup %s: %w", outside, ErrOutside)
	}
	return nil, ErrShared
}

// paths reads /proc/who/cgroup: the path of the process by controller.
func (e env) paths(who string) (map[string]string, error) {
	b, err := readLines(e.proc+"/"+who+"/cgroup", 2<<10, func([]byte) bool { return true })
	if err != nil {
		return nil, err
	}
	return parsePaths(b), nil
}

// usual is how many hierarchies there are where v1 is in use, about.
const usual = 14

// readLines returns the lines of a file that keep wants. It takes size bytes of
// memory and more only for what it keeps: a host has thousands of mounts, and what
// a shim allocates, at whatever time, stays with it.
func readLines(path string, size int, keep func(line []byte) bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, size)
	kept, n := 0, 0 // buf[:kept] is the result so far, buf[kept:n] not looked at yet
	for {
		if n == len(buf) {
			buf = append(buf, make([]byte, n)...)
		}
		m, err := f.Read(buf[n:])
		if err != nil && err != io.EOF {
			return nil, err
		}
		rest := buf[kept : n+m]
		for len(rest) > 0 {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 && err == nil {
				break
			}
			line := rest
			if i >= 0 {
				line = rest[:i+1]
			}
			rest = rest[len(line):]
			if keep(line) {
				kept += copy(buf[kept:], line)
			}
		}
		n = kept + copy(buf[kept:], rest)
		if err == io.EOF {
			return buf[:kept], nil
		}
	}
}

// parsePaths parses /proc/PID/cgroup: lines ID:CONTROLLERS:PATH, the
// controllers empty for v2 (cgroups(7)). Paths may contain colons.
func parsePaths(b []byte) map[string]string {
	paths := make(map[string]string, usual)
	for line := range bytes.Lines(b) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ":")
		names, p, ok := strings.Cut(rest, ":")
		if !ok || id == "" || !strings.HasPrefix(p, "/") {
			continue
		}
		if names == "" {
			// A removed cgroup has " (deleted)" behind its path.
			paths[Unified] = strings.TrimSuffix(p, " (deleted)")
			continue
		}
		for name := range strings.SplitSeq(names, ",") {
			paths[name] = p
		}
	}
	return paths
}

// mount is a mount of a cgroup hierarchy.
type mount struct {
	root  string // which cgroup of the hierarchy is mounted
	point string
	names string // ",controller,controller," of v1; "" is v2
}

// parseMounts picks the cgroup mounts out of mountinfo (proc(5)):
//
//	36 35 98:0 /root /point rw,noatime shared:1 - cgroup cgroup rw,cpu,cpuacct
func parseMounts(b []byte) []mount {
	mounts := make([]mount, 0, bytes.Count(b, []byte{'\n'}))
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		sep := 6 // after that many fields come optional ones up to "-"
		for sep < len(f) && f[sep] != "-" {
			sep++
		}
		if sep+3 >= len(f) {
			continue
		}
		m := mount{root: unescape(f[3]), point: unescape(f[4])}
		switch f[sep+1] {
		case "cgroup":
			m.names = "," + f[sep+3] + ","
		case "cgroup2":
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// locate returns the directory of a cgroup, "" if no mount shows it.
func locate(mounts []mount, name, p string) string {
	for _, m := range mounts {
		if (m.names == "") != (name == Unified) || m.names != "" && !strings.Contains(m.names, ","+name+",") {
			continue
		}
		if !within(p, m.root) {
			continue
		}
		dir := path.Join(m.point, strings.TrimPrefix(p, m.root))
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil { // else covered by another mount, or removed
			return dir
		}
	}
	return ""
}

// within tells whether cgroup p is root or below it.
func within(p, root string) bool {
	rest, ok := strings.CutPrefix(p, strings.TrimSuffix(root, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// isNamed tells whether a v1 hierarchy has a name instead of controllers.
func isNamed(name string) bool { return strings.HasPrefix(name, "name=") }

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
