package ocitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Environment variables of the fake runtime.
const (
	EnvFake   = "HOLDFAST_FAKE_OCI"        // set: Main runs the fake runtime
	EnvScript = "HOLDFAST_FAKE_OCI_SCRIPT" // path of the Script; else <--root>/script.json, if it exists
	EnvCalls  = "HOLDFAST_FAKE_OCI_CALLS"  // file that every call appends its arguments to, a JSON array a line
)

// Main runs the fake runtime with this process's arguments and exits, if
// [EnvFake] is set; else it returns.
func Main() {
	if os.Getenv(EnvFake) != "" {
		os.Exit(Run(os.Args[1:]))
	}
}

// Run runs the fake runtime with the given arguments, without a program name,
// and returns its exit status.
func Run(args []string) int {
	if len(args) == 2 && args[0] == initVerb {
		return runInit(args[1])
	}
	recordCall(args)
	inv, err := parse(args)
	if err == nil {
		err = inv.run()
	}
	if err == nil {
		return 0
	}
	inv.logError(err.Error())
	fmt.Fprintln(os.Stderr, err)
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if inv.verb == "exec" {
		return 255 // as runc's
	}
	return 1
}

// exitError is an error with an exit status of its own.
type exitError struct {
	text string
	code int
}

func (e *exitError) Error() string { return e.text }

func recordCall(args []string) {
	path := os.Getenv(EnvCalls)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	line, _ := json.Marshal(args)
	f.Write(append(line, '\n')) // one write: calls at one time do not mix
}

// An invocation is a parsed command line.
type invocation struct {
	root, log string
	json      bool // --log-format json
	verb      string
	flags     map[string]string
	rest      []string // id and what follows
	fault     Fault
}

// Options that take a value; all others are switches.
var (
	globalValues = words("root log log-format criu rootless")
	verbValues   = map[string]map[string]bool{
		"create": words("bundle b pid-file console-socket preserve-fds"),
		"exec":   words("process p pid-file console-socket cwd env e user u preserve-fds"),
		"ps":     words("format f"),
		"update": words("resources r"),
		"checkpoint": words("image-path work-path parent-path empty-ns manage-cgroups-mode page-server " +
			"status-fd"),
		"restore": words("image-path work-path bundle b pid-file console-socket empty-ns manage-cgroups-mode " +
			"lsm-profile"),
	}
)

func words(s string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(s) {
		set[w] = true
	}
	return set
}

func parse(args []string) (*invocation, error) {
	inv := &invocation{root: "/run/fakeoci"}
	global, args, err := options(args, globalValues)
	if root := global["root"]; root != "" {
		inv.root = root
	}
	inv.log, inv.json = global["log"], global["log-format"] == "json"
	if err != nil {
		return inv, err
	}
	if len(args) == 0 {
		return inv, errors.New("no command given")
	}
	inv.verb = args[0]
	inv.flags, inv.rest, err = options(args[1:], verbValues[inv.verb])
	return inv, err
}

// options takes the leading options off args. As with runc, they end at the
// first argument that is none.
func options(args []string, values map[string]bool) (map[string]string, []string, error) {
	flags := map[string]string{}
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		if args[0] == "--" {
			return flags, args[1:], nil
		}
		name, val, given := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
		args = args[1:]
		if values[name] && !given {
			if len(args) == 0 {
				return flags, nil, fmt.Errorf("flag needs an argument: -%s", name)
			}
			val, args = args[0], args[1:]
		}
		if !values[name] && !given {
			val = "true"
		}
		flags[name] = val
	}
	return flags, args, nil
}

// flag returns the value of an option under any of its names.
func (inv *invocation) flag(names ...string) string {
	for _, n := range names {
		if v, ok := inv.flags[n]; ok {
			return v
		}
	}
	return ""
}

// run does what the command line says, or what the script says instead.
func (inv *invocation) run() error {
	verb, known := verbs[inv.verb]
	if !known {
		return fmt.Errorf("no help topic for '%s'", inv.verb)
	}
	fault, err := loadFault(inv)
	if err != nil {
		return err
	}
	inv.fault = fault
	if !fault.After {
		if err := inv.suffer(); err != nil || fault.ends() {
			return err
		}
	}
	if inv.verb != "features" && len(inv.rest) == 0 {
		return errors.New("container id cannot be empty")
	}
	if err := verb(inv); err != nil {
		return err
	}
	if fault.After {
		return inv.suffer()
	}
	return nil
}

var verbs = map[string]func(*invocation) error{
	"create": create, "start": start, "exec": execProcess, "kill": kill, "delete": remove,
	"pause": pause, "resume": resume, "update": update, "ps": ps, "state": state,
	"features": features, "checkpoint": checkpoint, "restore": restore,
}

// logError appends an error record to the log, as runc does.
func (inv *invocation) logError(text string) {
	rec, _ := json.Marshal(map[string]string{
		"level": "error", "msg": text, "time": time.Now().UTC().Format(time.RFC3339),
	})
	if !inv.json {
		rec = fmt.Appendf(nil, "time=%q level=error msg=%q", time.Now().UTC().Format(time.RFC3339), text)
	}
	inv.logRaw(string(rec) + "\n")
}

func (inv *invocation) logRaw(text string) {
	if inv.log == "" {
		return
	}
	f, err := os.OpenFile(inv.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	f.WriteString(text)
}

// hang never returns.
func hang() {
	for {
		unix.Pause()
	}
}
