// Package mount puts a container's root file system together from the list of
// mounts that came with its Create, and takes it apart again.
//
//	All(rootfs, [overlay, bind …])      Unmount(rootfs)
//	  each in order onto rootfs           everything mounted at or below rootfs,
//	  or onto Target inside it            deepest and newest first
//
// Invariants:
//
//   - Nothing is mounted outside root, whatever symbolic links the file system
//     being put together holds: targets are opened with openat2(2) and
//     RESOLVE_IN_ROOT, and mounted onto by descriptor.
//   - If All fails, what it had mounted is unmounted again, and only that.
//   - The process keeps its working directory and namespaces: long overlays
//     are passed part by part, or by way of /proc/self/fd.
//   - Unmount looks at what is mounted, not at what is recorded, so it can
//     follow any crash, any number of times.
//
// It mounts nothing inside the container's own mount namespace, that is the
// OCI runtime's part; it runs no helper programs (fuse.X) and does no idmapped
// mounts: both are refused by name.
package mount
