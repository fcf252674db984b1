package term

import (
	"fmt"
	"strings"
)

// DefaultKeys is docker's sequence to detach from a container.
const DefaultKeys = "ctrl-p,ctrl-q"

// ParseKeys reads a key sequence in docker's syntax: keys separated by commas,
// each one ASCII character or ctrl- with one of a-z, @, [, \, ], ^, _. The
// empty text is no sequence: nil, and nothing detaches.
func ParseKeys(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	var keys []byte
	for name := range strings.SplitSeq(text, ",") {
		key, ok := parseKey(name)
		if !ok {
			return nil, fmt.Errorf("parse detach keys %q: unknown key %q", text, name)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseKey(name string) (byte, bool) {
	if len(name) == 1 && name[0] < 0x80 {
		return name[0], true
	}
	ctrl, ok := strings.CutPrefix(strings.ToLower(name), "ctrl-")
	if !ok || len(ctrl) != 1 || !strings.Contains(`@abcdefghijklmnopqrstuvwxyz[\]^_`, ctrl) {
		return 0, false
	}
	return ctrl[0] & 0x1f, true // the control key clears the upper bits
}
