package manager

// Process is what a Task (a container's first process) and an Exec have in
// common: one process with a life and streams. It is safe for concurrent use.
type Process struct {
	c      *Container
	execID string // "" for the first process
	pid    int
}
