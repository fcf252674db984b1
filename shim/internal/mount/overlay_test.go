package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/proto/types"
	"golang.org/x/sys/unix"
)

func TestOverlayOfAFewLayers(t *testing.T) {
	root := place(t)
	dir := tree(t, t.TempDir(), "l1/a", "l2/b", "up/", "work/")
	mustAll(t, root, &types.Mount{Type: "overlay", Source: "overlay", Options: []string{
		"lowerdir=" + dir + "/l1:" + dir + "/l2", "upperdir=" + dir + "/up", "workdir=" + dir + "/work",
	}})
	if !exists(root+"/a") || !exists(root+"/b") {
		t.Error("a layer is missing")
	}
	if err := os.WriteFile(root+"/new", nil, 0o644); err != nil {
		t.Error(err)
	}
	if !exists(dir + "/up/new") {
		t.Error("writes do not go to the upper directory")
	}
}

// layers makes n layers, with names so long that they do not fit into a page,
// and returns the options for them.
func layers(t *testing.T, n int, pad string) (dir string, opts []string) {
	dir = t.TempDir()
	var names []string
	for i := range n {
		name := fmt.Sprintf("%s-%d", pad, i)
		tree(t, dir, fmt.Sprintf("%s/f%d", name, i))
		names = append(names, strings.ReplaceAll(filepath.Join(dir, name), ":", `\:`))
	}
	tree(t, dir, "up/", "work/")
	return dir, []string{"lowerdir=" + strings.Join(names, ":"), "upperdir=" + dir + "/up", "workdir=" + dir + "/work", "nosuid"}
}

func TestOverlayOfMoreLayersThanFitIntoAPage(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int
		pad  string
	}{
		{"many", 300, "layer"},
		{"long names", 20, strings.Repeat("n", 240)},
		{"names with colons", 100, "a:b" + strings.Repeat("x", 60)},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := place(t)
			_, opts := layers(t, c.n, c.pad)
			mustAll(t, root, &types.Mount{Type: "overlay", Source: "overlay", Options: opts})
			for i := range c.n {
				if !exists(fmt.Sprintf("%s/f%d", root, i)) {
					t.Fatalf("layer %d is missing", i)
				}
			}
			if f := flags(t, root); !strings.Contains(f, "nosuid") {
				t.Errorf("flags %s", f)
			}
		})
	}
}

func TestOverlayByShorterNamesForOlderKernels(t *testing.T) {
	root := place(t)
	_, opts := layers(t, 80, strings.Repeat("n", 20))
	o, err := parse(&types.Mount{Type: "overlay", Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(root, 0o711); err != nil {
		t.Fatal(err)
	}
	target, _, err := openTarget(root, "")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	short, parent, err := shorten(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := plain(target, "overlay", "overlay", short); err != nil {
		t.Fatal(err)
	}
	parent.Close()
	target.Close()
	for i := range 80 {
		if !exists(fmt.Sprintf("%s/f%d", root, i)) {
			t.Fatalf("layer %d is missing", i)
		}
	}
}

func TestOverlayThatFailsSaysWhichPart(t *testing.T) {
	root := place(t)
	dir, opts := layers(t, 100, strings.Repeat("n", 50))
	opts[2] = "workdir=" + dir + "/missing"
	err := All(root, []*types.Mount{{Type: "overlay", Source: "overlay", Options: opts}})
	if err == nil || !errors.Is(err, unix.ENOENT) && !strings.Contains(err.Error(), "workdir") {
		t.Errorf("error %v", err)
	}
}

func TestLoopDeviceFreesItself(t *testing.T) {
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Skip("mkfs.ext4 is not installed")
	}
	root := place(t)
	image := filepath.Join(filepath.Dir(root), "image")
	if err := os.WriteFile(image, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs: %v: %s", err, out)
	}
	for _, mode := range []string{"rw", "ro"} {
		mustAll(t, root, &types.Mount{Type: "ext4", Source: image, Options: []string{"loop", mode}})
		if !exists(root + "/lost+found") {
			t.Error("nothing mounted")
		}
		if err := os.WriteFile(root+"/x", nil, 0o644); (err == nil) != (mode == "rw") {
			t.Errorf("%s: write: %v", mode, err)
		}
		if err := Unmount(root); err != nil {
			t.Fatal(err)
		}
		backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
		for _, f := range backing {
			if b, _ := os.ReadFile(f); strings.TrimSpace(string(b)) == image {
				t.Errorf("%s: %s still has the image", mode, f)
			}
		}
	}
}
