package manager

// SpecConfig is what a caller wants of a spec. For DefaultSpec a zero field has
// a default; laid over a given spec, only what is set counts.
type SpecConfig struct {
	Args     []string // program and arguments; default "sh"
	Env      []string // KEY=VALUE, added to or replacing
	Cwd      string   // default "/", or the user's home if a user is given
	User     string   // NAME|UID[:NAME|GID], names looked up in the root's /etc/passwd and /etc/group
	Hostname string   // default the container's id
	Terminal bool
	Size     Size // of the terminal, if it shall be in the spec

	HostNetwork bool // share the host's network
	Readonly    bool // root file system read-only
}
