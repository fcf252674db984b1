package term

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/holdfast/holdfast/console"
)

// Watch sends the size of the terminal f, which is borrowed: at once, and after
// each change that SIGWINCH tells of. Sizes that nobody took are replaced by newer ones, so the last
// one always arrives, and a slow receiver delays nobody. When ctx ends the
// channel is closed. If f is not a terminal, it is closed at once.
func Watch(ctx context.Context, f *os.File) <-chan console.Size {
	sizes := make(chan console.Size, 1)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH) // before the first look: no change is missed
	go func() {                           // ended by ctx, or by the loss of the terminal
		defer close(sizes)
		defer signal.Stop(changed)
		var sent *console.Size
		for {
			size, err := console.GetSize(f)
			if err != nil {
				return
			}
			if sent == nil || *sent != size {
				select {
				case <-sizes:
				default:
				}
				sizes <- size // the only sender: there is room
				sent = &size
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return sizes
}
