package kernel

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is the capacity of the pipe in bytes. It is the smallest that the kernel allows.
const pipeSize = 4096

// FullPipe returns a full pipe: a write to in waits until a reader reads from out.
func FullPipe() (in, out *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	out, in = os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe")
	if _, err = unix.FcntlInt(in.Fd(), unix.F_SETPIPE_SZ, pipeSize); err != nil {
		err = os.NewSyscallError("fcntl F_SETPIPE_SZ", err)
	} else {
		_, err = in.Write(bytes.Repeat([]byte("x"), pipeSize))
	}
	if err != nil {
		_, _ = in.Close(), out.Close()
	}
	return in, out, err
}
