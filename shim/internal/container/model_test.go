package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/holdfast/holdfast/proto/bundle"
	"github.com/holdfast/holdfast/proto/types"
	"github.com/holdfast/holdfast/reaper"
	"github.com/holdfast/holdfast/shim/ocitest"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	ocitest.Main()
	os.Exit(m.Run())
}

// patience bounds what a test waits for; nothing here takes a second.
const patience = 20 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// recorder keeps the events of a container.
type recorder struct {
	mu     sync.Mutex
	events []bundle.Event
}

func (r *recorder) publish(e bundle.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []bundle.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]bundle.Event(nil), r.events...)
}

// newFake makes a container of the fake OCI runtime whose init sleeps.
func newFake(t testing.TB, r *reaper.Reaper, rec *recorder) *Container {
	t.Helper()
	dir := ocitest.Bundle(t, ocitest.Spec{HostPID: true})
	c, err := Create(patient(t), Config{
		Namespace: "test", ID: "c", Bundle: dir, Reaper: r, Version: "test",
		Publish: rec.publish, Log: t.Logf, Changed: func() {},
	}, CreateRequest{
		Runtime: bundle.Runtime{Binary: ocitest.Binary(t), Root: t.TempDir()},
		Linger:  true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newReaper(t testing.TB) *reaper.Reaper {
	t.Helper()
	r, err := reaper.New(reaper.WithSubreaper())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// model is what a container is believed to be: the state of init and of each
// exec, and nothing else.
type model struct {
	t     *rapid.T
	ctx   context.Context
	c     *Container
	init  state
	execs map[string]state
}

// agree checks an error against what the model expects.
func (m *model) agree(what string, err error, want error) {
	switch {
	case want == nil && err != nil:
		m.t.Fatalf("%s: %v, want success (model: init %v, execs %v)", what, err, m.init, m.execs)
	case want != nil && !errors.Is(err, want):
		m.t.Fatalf("%s: %v, want %v (model: init %v, execs %v)", what, err, want, m.init, m.execs)
	}
}

// ends waits until the container agrees that a process has ended.
func (m *model) ends(id string, code int) {
	e, err := m.c.Wait(m.ctx, id)
	if err != nil || e.Code != code {
		m.t.Fatalf("wait for %q: %+v, %v, want code %d", id, e, err, code)
	}
}

func (m *model) start() {
	want := ErrState
	switch m.init {
	case created:
		want = nil
	case deleted:
		want = ErrNotFound
	}
	_, err := m.c.Start(m.ctx, "")
	m.agree("start", err, want)
	if want == nil {
		m.init = running
	}
}

func (m *model) kill() {
	sig := rapid.SampledFrom([]unix.Signal{0, unix.SIGKILL}).Draw(m.t, "signal")
	var want error
	if m.init == stopped || m.init == deleted {
		want = ErrNotFound
	}
	m.agree("kill", m.c.Kill(m.ctx, "", sig, false), want)
	if want != nil || sig == 0 {
		return
	}
	m.ends("", 137)
	m.init = stopped
	for id, s := range m.execs { // init's end is everybody's
		if s == running {
			m.ends(id, 137)
			m.execs[id] = stopped
		}
	}
}

func (m *model) pause() {
	want := ErrState
	switch m.init {
	case running:
		want = nil
	case deleted:
		want = ErrNotFound
	}
	m.agree("pause", m.c.Pause(m.ctx), want)
	if want == nil {
		m.init = paused
	}
}

func (m *model) resume() {
	want := ErrState
	switch m.init {
	case paused:
		want = nil
	case deleted:
		want = ErrNotFound
	}
	m.agree("resume", m.c.Resume(m.ctx), want)
	if want == nil {
		m.init = running
	}
}

func (m *model) delete() {
	var want error
	switch m.init {
	case running, paused:
		want = ErrState
	case deleted:
		want = ErrNotFound
	}
	_, err := m.c.Delete(m.ctx, "")
	m.agree("delete", err, want)
	if want == nil {
		m.init, m.execs = deleted, map[string]state{}
	}
}

func (m *model) execID() string {
	return rapid.SampledFrom([]string{"e1", "e2", "e3"}).Draw(m.t, "exec")
}

func (m *model) addExec() {
	id := m.execID()
	want := error(nil)
	switch {
	case m.init == deleted:
		want = ErrNotFound
	case m.execs[id] != refused:
		want = ErrExists
	case m.init == paused || m.init == stopped:
		want = ErrState
	}
	args := `{"args":["sleep","1000"],"cwd":"/","env":["PATH=/bin:/usr/bin"]}`
	if rapid.Bool().Draw(m.t, "quick") {
		args = `{"args":["sh","-c","exit 3"],"cwd":"/","env":["PATH=/bin:/usr/bin"]}`
	}
	m.agree("add exec", m.c.AddExec(id, []byte(args), Streams{}), want)
	if want == nil {
		m.execs[id] = created
	}
}

func (m *model) startExec() {
	id := m.execID()
	want := ErrNotFound
	if m.execs[id] != refused {
		want = ErrState
		if m.execs[id] == created && (m.init == running || m.init == created) {
			want = nil
		}
	}
	_, err := m.c.Start(m.ctx, id)
	m.agree("start exec", err, want)
	if want != nil {
		return
	}
	m.execs[id] = running
	if string(m.c.execs[id].spec[10:12]) == "sh" {
		m.ends(id, 3)
		m.execs[id] = stopped
	}
}

func (m *model) killExec() {
	id := m.execID()
	var want error
	switch m.execs[id] {
	case refused, stopped:
		want = ErrNotFound
	case created:
		want = ErrState
	}
	if m.init == paused && m.execs[id] == running {
		return // takes effect at resume; the fake's pause differs from a cgroup's here
	}
	m.agree("kill exec", m.c.Kill(m.ctx, id, unix.SIGKILL, false), want)
	if want == nil {
		m.ends(id, 137)
		m.execs[id] = stopped
	}
}

func (m *model) deleteExec() {
	id := m.execID()
	var want error
	switch m.execs[id] {
	case refused:
		want = ErrNotFound
	case running:
		want = ErrState
	}
	_, err := m.c.Delete(m.ctx, id)
	m.agree("delete exec", err, want)
	if want == nil {
		delete(m.execs, id)
	}
}

// check compares everything that can be seen with the model.
func (m *model) check() {
	seen := map[types.Status]state{
		types.StatusCreated: created, types.StatusRunning: running,
		types.StatusPaused: paused, types.StatusStopped: stopped,
	}
	st, err := m.c.State("")
	if m.init == deleted {
		m.agree("state", err, ErrNotFound)
		return
	}
	m.agree("state", err, nil)
	if seen[st.Status] != m.init {
		m.t.Fatalf("init is %v, want %v", st.Status, m.init)
	}
	if got := len(m.c.Execs()); got != len(m.execs) {
		m.t.Fatalf("%d execs, want %v", got, m.execs)
	}
	for id, want := range m.execs {
		st, err := m.c.State(id)
		m.agree("state of exec", err, nil)
		if m.init != paused && seen[st.Status] != want {
			m.t.Fatalf("exec %s is %v, want %v", id, st.Status, want)
		}
	}
}

// A container behaves like the model under any sequence of operations, and its
// events are in the promised order.
func TestContainerAgreesWithTheModel(t *testing.T) {
	r := newReaper(t)
	rapid.Check(t, func(rt *rapid.T) {
		rec := new(recorder)
		c := newFake(t, r, rec)
		m := &model{t: rt, ctx: patient(t), c: c, init: created, execs: map[string]state{}}
		defer end(t, c)
		rt.Repeat(map[string]func(*rapid.T){
			"start":      func(t *rapid.T) { m.t = t; m.start() },
			"kill":       func(t *rapid.T) { m.t = t; m.kill() },
			"pause":      func(t *rapid.T) { m.t = t; m.pause() },
			"resume":     func(t *rapid.T) { m.t = t; m.resume() },
			"delete":     func(t *rapid.T) { m.t = t; m.delete() },
			"addExec":    func(t *rapid.T) { m.t = t; m.addExec() },
			"startExec":  func(t *rapid.T) { m.t = t; m.startExec() },
			"killExec":   func(t *rapid.T) { m.t = t; m.killExec() },
			"deleteExec": func(t *rapid.T) { m.t = t; m.deleteExec() },
			"":           func(t *rapid.T) { m.t = t; m.check() },
		})
		end(t, c)
		if err := inOrder(rec.all()); err != nil {
			rt.Fatal(err)
		}
	})
}

// end takes a container down whatever state it is in.
func end(t testing.TB, c *Container) {
	ctx := patient(t)
	_ = c.Kill(ctx, "", unix.SIGKILL, true)
	if c.InitPID() != 0 {
		_, _ = c.Wait(ctx, "")
	}
	if _, err := c.Delete(ctx, ""); err != nil && !errors.Is(err, ErrNotFound) {
		t.Errorf("delete at the end: %v", err)
	}
}

// inOrder checks the order of the events of one run: numbered without a gap,
// create first, starts before exits, init's exit after every other exit, delete
// last.
func inOrder(events []bundle.Event) error {
	started, exited := map[string]bool{}, map[string]bool{}
	for i, e := range events {
		if e.Seq != uint64(i+1) {
			return fmt.Errorf("event %d has number %d", i+1, e.Seq)
		}
		switch e.Topic {
		case bundle.TopicCreate:
			if i != 0 {
				return fmt.Errorf("create is event %d", e.Seq)
			}
		case bundle.TopicStart, bundle.TopicExecStarted:
			if exited[e.ExecID] || exited[""] {
				return fmt.Errorf("start of %q after an exit of it or of init", e.ExecID)
			}
			started[e.ExecID] = true
		case bundle.TopicExit:
			if e.ExecID != "" && (!started[e.ExecID] || exited[""]) {
				return fmt.Errorf("exit of exec %q before its start or after init's exit", e.ExecID)
			}
			exited[e.ExecID] = true
		case bundle.TopicExecAdded:
			delete(started, e.ExecID)
			delete(exited, e.ExecID)
		case bundle.TopicDelete:
			if e.ExecID == "" && (!exited[""] || i != len(events)-1) {
				return fmt.Errorf("delete is event %d of %d", e.Seq, len(events))
			}
		}
	}
	return nil
}
