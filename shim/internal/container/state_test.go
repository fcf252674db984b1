package container

import "testing"

// The table again, as sentences: every cell is either here or a refusal.
func TestEveryCellOfTheTable(t *testing.T) {
	allowed := map[state]map[event]state{
		created: {evStart: running, evFail: stopped, evExit: stopped, evDelete: deleted},
		running: {evPause: paused, evExit: stopped},
		paused:  {evResume: running, evExit: stopped},
		stopped: {evDelete: deleted},
		deleted: {},
		refused: {},
	}
	for s := refused; s < numStates; s++ {
		for e := evStart; e < numEvents; e++ {
			want, ok := allowed[s][e]
			if !ok {
				want = refused
			}
			if got := s.after(e); got != want {
				t.Errorf("%v after event %d = %v, want %v", s, e, got, want)
			}
		}
	}
}

// Whatever happens, a process that has ended never runs again.
func TestNothingLeavesTheEndButDeletion(t *testing.T) {
	for e := evStart; e < numEvents; e++ {
		if got := stopped.after(e); got != refused && got != deleted {
			t.Errorf("stopped after event %d = %v", e, got)
		}
		if got := deleted.after(e); got != refused {
			t.Errorf("deleted after event %d = %v", e, got)
		}
	}
}
