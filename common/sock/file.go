package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenBeneath is openat2(2). It opens a name in the folder dir, or in a folder in it, and
// returns the descriptor. Symbolic links are followed only if they stay inside dir, so an
// absolute link fails with EXDEV, even if its target is inside dir. The links in /proc/PID/fd
// and the like fail with ELOOP.
//
// The error is EAGAIN if a folder on the way was moved each time that OpenBeneath tried, and
// also if another process has a write lease on the file (fcntl(2), F_SETLEASE).
func OpenBeneath(dir int, name string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	const tries = 4
	for try := 1; ; try++ {
		var fd int
		err := retryErr(func() (err error) {
			fd, err = unix.Openat2(dir, name, &how)
			return err
		})
		if err != unix.EAGAIN || try == tries {
			return fd, os.NewSyscallError("openat2", err)
		}
	}
}
