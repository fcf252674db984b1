// Package stdio moves the bytes of one process between the container and the
// places its stdio URIs name.
package stdio
