// Package events is what a shim tells its daemon: the events of a task, the
// Envelope they travel in, and the service that takes them.
//
// An event is an Envelope whose topic says which message its Any holds; the
// two constants of a kind below belong together. The package neither orders
// nor delivers events.
package events

// ServiceName is the full name, on the wire, of the service whose Forward
// method takes events.
const ServiceName = "containerd.services.events.ttrpc.v1.Events"

// Topics, by what happened.
const (
	TopicTaskCreate       = "/tasks/create"
	TopicTaskStart        = "/tasks/start"
	TopicTaskDelete       = "/tasks/delete"
	TopicTaskExit         = "/tasks/exit"
	TopicTaskOOM          = "/tasks/oom"
	TopicTaskExecAdded    = "/tasks/exec-added"
	TopicTaskExecStarted  = "/tasks/exec-started"
	TopicTaskPaused       = "/tasks/paused"
	TopicTaskResumed      = "/tasks/resumed"
	TopicTaskCheckpointed = "/tasks/checkpointed"
)

// Type URLs of the messages of those topics.
const (
	TypeTaskCreate       = "containerd.events.TaskCreate"
	TypeTaskStart        = "containerd.events.TaskStart"
	TypeTaskDelete       = "containerd.events.TaskDelete"
	TypeTaskExit         = "containerd.events.TaskExit"
	TypeTaskOOM          = "containerd.events.TaskOOM"
	TypeTaskExecAdded    = "containerd.events.TaskExecAdded"
	TypeTaskExecStarted  = "containerd.events.TaskExecStarted"
	TypeTaskPaused       = "containerd.events.TaskPaused"
	TypeTaskResumed      = "containerd.events.TaskResumed"
	TypeTaskCheckpointed = "containerd.events.TaskCheckpointed"
)
