package manager

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast/holdfast/proto/bundle"
)

// Bundles made by containerd have no container.json. What they are is told by
// the files that containerd and its shims leave; see DESIGN on bundles.

// bootstrapAddress returns the shim's address from containerd's bootstrap.json
// (containerd 2.x), "" if there is none.
func bootstrapAddress(bundleDir string) string {
	raw, err := os.ReadFile(bundleDir + "/bootstrap.json")
	if err != nil {
		return ""
	}
	var b struct {
		Address  string `json:"address"`
		Protocol string `json:"protocol"`
	}
	if json.Unmarshal(raw, &b) != nil || b.Protocol != "" && b.Protocol != "ttrpc" {
		return ""
	}
	return b.Address
}

// foreignRecord describes a bundle that somebody else made; ok is false if dir
// is no bundle at all.
func foreignRecord(dir, namespace string) (Record, bool) {
	st, err := os.Stat(dir + "/" + bundle.ConfigFile)
	if err != nil {
		return Record{}, false
	}
	r := Record{
		Version: recordVersion, ID: filepath.Base(dir), Namespace: namespace,
		Created: st.ModTime().UTC(), Labels: map[string]string{}, Foreign: true,
	}
	if name, err := os.ReadFile(dir + "/runtime"); err == nil {
		r.Runtime.Binary = strings.TrimSpace(string(name))
	}
	if path, err := os.ReadFile(dir + "/shim-binary-path"); err == nil {
		r.Shim = strings.TrimSpace(string(path))
	}
	return r, true
}
