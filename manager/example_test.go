package manager_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/holdfast/holdfast/manager"
)

// A container made from a directory, run in the foreground and removed.
func Example() {
	ctx := context.Background()
	m, err := manager.Open("/run/holdfast", "default")
	if err != nil {
		log.Fatal(err)
	}
	c, err := m.Create(ctx, "hello", manager.CreateConfig{
		Rootfs:  "/srv/rootfs",
		Process: manager.SpecConfig{Args: []string{"/bin/echo", "hello"}},
		Labels:  map[string]string{"app": "demo"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	defer c.Delete(ctx, manager.Force())

	task, err := c.NewTask(ctx, manager.TaskConfig{})
	if err != nil {
		log.Fatal(err)
	}
	// Attached before the start, in sync: not a byte is missed.
	io, err := task.Attach(ctx, manager.AttachConfig{Stdout: os.Stdout, Stderr: os.Stderr, Sync: true})
	if err != nil {
		log.Fatal(err)
	}
	if err := task.Start(ctx); err != nil {
		log.Fatal(err)
	}
	exit, err := task.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := io.Wait(); err != nil {
		log.Print(err)
	}
	fmt.Println("exit", exit.Code)
}

// The example of README, with its errors looked at.
func Example_readme() {
	ctx := context.Background()
	m, err := manager.Open("/run/mydaemon", "default")
	if err != nil {
		log.Fatal(err)
	}
	c, err := m.Create(ctx, "web", manager.CreateConfig{
		Rootfs:  "/srv/rootfs",
		Process: manager.SpecConfig{Args: []string{"/bin/httpd", "-f"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	t, err := c.NewTask(ctx, manager.TaskConfig{}) // starts the shim; the container is created
	if err != nil {
		log.Fatal(err)
	}
	err = t.Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	exit, err := t.Wait(ctx) // from the shim, or from disk if it is long over
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(exit.Code)
}

// What a daemon does when it comes up: it finds what its predecessor started.
func ExampleManager_List() {
	ctx := context.Background()
	m, err := manager.Open("/run/holdfast", "default")
	if err != nil {
		log.Fatal(err)
	}
	containers, err := m.List(ctx, "label=app=demo")
	if err != nil {
		log.Fatal(err)
	}
	for i, status := range m.Statuses(ctx, containers) {
		switch status.State {
		case manager.StateRunning:
			go watch(ctx, containers[i])
		case manager.StateUnknown:
			log.Printf("%s: %s", containers[i].ID(), status.Reason)
		case manager.StateStopped:
			log.Printf("%s: ended with %d while nobody looked", containers[i].ID(), status.Exit.Code)
		}
	}
}

func watch(ctx context.Context, c *manager.Container) {
	defer c.Close()
	exit, err := c.Wait(ctx)
	log.Print(c.ID(), exit, err)
}

// Events survive their readers; a follower can come late.
func ExampleManager_Events() {
	m, err := manager.Open("/run/holdfast", "default")
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range m.Events(context.Background(), manager.EventsConfig{Follow: true}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Time, e.ID, e.Topic)
	}
}
