package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast/holdfast/manager"
)

// proc is a process as top shows it, read from the host's /proc.
type proc struct {
	PID     int           `json:"pid"`
	PPID    int           `json:"ppid"`
	UID     int           `json:"uid"`
	User    string        `json:"user"` // on the host; the number if it has no name there
	State   string        `json:"state"`
	CPU     time.Duration `json:"cpu_nsec"`
	Exec    string        `json:"exec,omitempty"`
	Command string        `json:"command"`
}

// tick is the unit of times in /proc/PID/stat: USER_HZ, 100 on every
// architecture Go runs on, see proc_pid_stat(5).
const tick = time.Second / 100

// readProcs looks the processes up. One that has gone meanwhile is left out.
func readProcs(pids []manager.ProcessInfo) []proc {
	names := userNames()
	var procs []proc
	for _, p := range pids {
		info, ok := readProc(p.PID)
		if !ok {
			continue
		}
		info.Exec = p.ExecID
		info.User = names[info.UID]
		if info.User == "" {
			info.User = strconv.Itoa(info.UID)
		}
		procs = append(procs, info)
	}
	return procs
}

func readProc(pid int) (proc, bool) {
	dir := fmt.Sprintf("/proc/%d", pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return proc{}, false
	}
	p := proc{PID: pid}
	// The name in parentheses may contain anything, so fields are counted from
	// the last one: 3 is state, 4 ppid, 14 utime, 15 stime.
	open, shut := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || shut < open {
		return proc{}, false
	}
	fields := strings.Fields(string(stat[shut+1:]))
	if len(fields) < 13 {
		return proc{}, false
	}
	p.State = fields[0]
	p.PPID, _ = strconv.Atoi(fields[1])
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	p.CPU = time.Duration(user+system) * tick
	p.Command = "[" + string(stat[open+1:shut]) + "]"
	if line, err := os.ReadFile(dir + "/cmdline"); err == nil && len(line) > 0 {
		p.Command = quoted(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"))
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return proc{}, false
	}
	p.UID = uidOf(string(status))
	return p, true
}

// uidOf reads the effective uid from /proc/PID/status.
func uidOf(status string) int {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			if f := strings.Fields(rest); len(f) > 1 {
				uid, _ := strconv.Atoi(f[1])
				return uid
			}
		}
	}
	return 0
}

// userNames reads the host's local users.
func userNames() map[int]string {
	data, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil
	}
	names := map[int]string{}
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(line, ":", 4)
		if len(f) < 4 {
			continue
		}
		if uid, err := strconv.Atoi(f[2]); err == nil && names[uid] == "" {
			names[uid] = f[0]
		}
	}
	return names
}

// cpuTime prints a processor time as ps(1) does, with hundredths below a
// minute.
func cpuTime(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.2fs", d.Seconds())
	}
	s := int(d.Seconds())
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}
