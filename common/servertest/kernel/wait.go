package kernel

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// This file reads what a thread of another process waits for. It needs the permission to trace that process, which a
// parent has.

// Tasks returns the thread IDs of a process.
func Tasks(pid int) []string {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// Call returns the system call in which a thread is, with its arguments. The name is "running" if the thread
// is in no system call, and "" if the thread cannot be read.
func Call(pid int, task string) (name string, args []uint64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, task))
	if err != nil {
		return "", nil
	}
	return parseCall(string(b))
}

// parseCall reads a file as in proc_pid_syscall(5): a number and six arguments, or a word.
func parseCall(text string) (name string, args []uint64) {
	f := strings.Fields(text)
	if len(f) == 0 {
		return "", nil
	}
	nr, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return f[0], nil // "running"
	}
	for _, a := range f[1:] {
		v, _ := strconv.ParseUint(strings.TrimPrefix(a, "0x"), 16, 64)
		args = append(args, v)
	}
	name, ok := SystemCalls[nr]
	if !ok {
		name = fmt.Sprintf("system call %d", nr)
		if nr < 0 {
			name = "running"
		}
	}
	return name, args
}

// Memory reads n bytes of a process's memory, or as many as can be read. n must not be 0.
func Memory(pid int, at, n uint64) []byte {
	buf := make([]byte, n)
	local := unix.Iovec{Base: &buf[0]}
	local.SetLen(len(buf))
	got, err := unix.ProcessVMReadv(pid, []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(at), Len: len(buf)}}, 0)
	if err != nil {
		return nil
	}
	return buf[:got]
}

// maxPollSet is more than a server of this repository passes to poll(2).
const maxPollSet = 16

// PollSet returns the descriptors for which a thread waits in poll(2), given the arguments of the call. Negative
// descriptors, which poll ignores, are left out. ok is false if the memory cannot be read.
func PollSet(pid int, args []uint64) (set []unix.PollFd, ok bool) {
	if len(args) < 2 {
		return nil, false
	}
	const size = 8 // struct pollfd: int fd; short events, revents
	n := min(args[1], maxPollSet)
	if n == 0 {
		return nil, true
	}
	buf := Memory(pid, args[0], n*size)
	if uint64(len(buf)) < n*size {
		return nil, false
	}
	for ; len(buf) >= size; buf = buf[size:] {
		fd := unix.PollFd{Fd: int32(binary.NativeEndian.Uint32(buf)), Events: int16(binary.NativeEndian.Uint16(buf[4:]))}
		if fd.Fd >= 0 {
			set = append(set, fd)
		}
	}
	return set, true
}

// EpollSet returns the descriptors that an epoll set of a process watches, with their events. It is empty if the
// descriptor is not an epoll set.
func EpollSet(pid, fd int) []unix.EpollEvent {
	info, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	return parseEpollSet(string(info))
}

// parseEpollSet reads the lines "tfd: … events: …" of a file as in proc_pid_fdinfo(5).
func parseEpollSet(info string) (set []unix.EpollEvent) {
	for line := range strings.Lines(info) {
		f := strings.Fields(line)
		if len(f) < 4 || f[0] != "tfd:" || f[2] != "events:" {
			continue
		}
		fd, err1 := strconv.ParseInt(f[1], 10, 32)
		events, err2 := strconv.ParseUint(f[3], 16, 32)
		if err1 == nil && err2 == nil {
			set = append(set, unix.EpollEvent{Fd: int32(fd), Events: uint32(events)})
		}
	}
	return set
}

// Descriptors returns what the open descriptors of a process refer to, by their numbers: "socket:[1234]",
// "anon_inode:[eventpoll]" or a path.
func Descriptors(pid int) map[int]string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir)
	all := make(map[int]string, len(entries))
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if to, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			all[fd] = to
		}
	}
	return all
}
