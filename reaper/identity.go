package reaper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Identity tells one process from every other, of this boot or another. It is
// comparable. A field that could not be learnt is zero.
type Identity struct {
	PID       int
	StartTime uint64 // clock ticks after boot: field 22 of /proc/PID/stat, proc(5)
	Inode     uint64 // of the pidfd on pidfs: never used twice in a boot (Linux 6.9)
	BootID    string // /proc/sys/kernel/random/boot_id
}

// bootID returns the boot id, or "" if it cannot be read: then identities of two
// boots cannot be told apart by it; the start time still tells most of them. Not
// worth failing for.
func bootID(proc string) string {
	f, err := os.Open(proc + "/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 64)
	n, _ := f.Read(b) // 36 characters and a newline, at once
	return string(bytes.TrimSpace(b[:n]))
}

// identify learns the identity of the process behind fd. /proc goes by pid,
// so what it says counts only if the process still had that pid afterwards.
func (r *Reaper) identify(pid, fd int) Identity {
	var id Identity
	var st unix.Stat_t
	var fs unix.Statfs_t
	// Before pidfs all pidfds shared the one inode of the anonymous files.
	if unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PID_FS_MAGIC && unix.Fstat(fd, &st) == nil {
		id.Inode = st.Ino
	}
	if s, err := r.stat(pid); err == nil && r.sys.sendSignal(fd, 0) == nil {
		id.StartTime = s.start
	}
	return id
}

// procStat is what the reaper needs of /proc/PID/stat.
type procStat struct {
	state    byte   // field 3: R, S, D, Z, ...
	ppid     int    // field 4
	start    uint64 // field 22, clock ticks after boot
	exitCode uint32 // field 52, raw wait status of a zombie; 0 for who may not ptrace it
}

// stat reads /proc/pid/stat.
func (r *Reaper) stat(pid int) (procStat, error) {
	f, err := os.Open(r.sys.proc + "/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, err
	}
	defer f.Close()
	b := make([]byte, 2<<10) // 52 numbers of at most 20 digits, and a name of at most 64 bytes
	n, err := f.Read(b)      // procfs gives it whole
	if err != nil {
		return procStat{}, err
	}
	s, err := parseStat(b[:n])
	if err != nil {
		return procStat{}, fmt.Errorf("parse stat of process %d: %w", pid, err)
	}
	return s, nil
}

var errStat = errors.New("malformed line")

// parseStat parses a line of /proc/PID/stat. The command's name, field 2, may
// hold anything, parentheses and newlines too: fields count from the last ')'.
func parseStat(b []byte) (s procStat, err error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return procStat{}, errStat
	}
	rest := b[i+1:]
	for n := 3; n <= 52; n++ {
		rest = bytes.TrimLeft(rest, " ")
		end := bytes.IndexAny(rest, " \n")
		if end < 0 {
			end = len(rest)
		}
		field := rest[:end]
		rest = rest[end:]
		if len(field) == 0 {
			return procStat{}, errStat
		}
		switch n {
		case 3:
			s.state = field[0]
		case 4:
			s.ppid, err = strconv.Atoi(string(field))
		case 22:
			s.start, err = strconv.ParseUint(string(field), 10, 64)
		case 52:
			var code uint64
			code, err = strconv.ParseUint(string(field), 10, 32)
			s.exitCode = uint32(code)
		}
		if err != nil {
			return procStat{}, fmt.Errorf("field %d: %w", n, errStat)
		}
	}
	return s, nil
}
