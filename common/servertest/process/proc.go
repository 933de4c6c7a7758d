package process

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
)

// Sockets returns the server's open sockets in the form "socket:[INODE]".
func (s *Server) Sockets() []string {
	return kernel.SocketsOf(s.PID())
}

// Connections returns how many more sockets the server has open than at its start.
func (s *Server) Connections() int { return len(s.Sockets()) - s.OwnSockets }

// Threads returns the number of the server's OS threads.
func (s *Server) Threads() int { return len(s.Tasks()) }

// Tasks returns the thread IDs of the server's threads.
func (s *Server) Tasks() []string { return kernel.Tasks(s.PID()) }

// Awake reports whether a thread of the server is in any other state than asleep (S) or dead (Z, X).
func (s *Server) Awake() bool {
	return slices.ContainsFunc(s.states(), func(state string) bool { return state != "S" && state != "Z" && state != "X" })
}

// Runnable returns how many threads run or wait for a CPU.
func (s *Server) Runnable() (n int) {
	for _, state := range s.states() {
		if state == "R" {
			n++
		}
	}
	return n
}

// Suspended reports whether a signal has stopped all threads.
func (s *Server) Suspended() bool {
	return !slices.ContainsFunc(s.states(), func(state string) bool { return state != "T" })
}

// states returns the state of each thread as /proc names it, see proc_pid_stat(5).
func (s *Server) states() []string {
	var all []string
	for _, tid := range s.Tasks() {
		if f := kernel.Stat(fmt.Sprintf("/proc/%d/task/%s/stat", s.PID(), tid)); len(f) > 0 {
			all = append(all, f[0])
		}
	}
	return all
}

// CPU returns how much CPU time the server has used, in steps of 10 ms.
func (s *Server) CPU() time.Duration {
	f := kernel.Stat(fmt.Sprintf("/proc/%d/stat", s.PID()))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on every machine
}

// Memory returns a line of /proc/PID/status in bytes. VmRSS is the resident memory of the server, VmHWM
// the largest value that it has had.
func (s *Server) Memory(line string) int64 {
	number, _, _ := strings.Cut(s.status(line), " ")
	kb, _ := strconv.ParseInt(number, 10, 64)
	return kb << 10
}

// status returns the value of a line of /proc/PID/status, or "" if there is no such line.
func (s *Server) status(line string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// InCall returns a thread of the server that is asleep inside one of these system calls.
func (s *Server) InCall(names ...string) (tid int, ok bool) {
	for _, task := range s.Tasks() {
		if name, _ := s.Call(task); slices.Contains(names, name) && s.Asleep(task) {
			tid, _ = strconv.Atoi(task)
			return tid, true
		}
	}
	return 0, false
}

// Asleep reports whether a thread waits for an event, in a way that a signal can interrupt.
func (s *Server) Asleep(task string) bool {
	f := kernel.Stat(fmt.Sprintf("/proc/%d/task/%s/stat", s.PID(), task))
	return len(f) > 0 && f[0] == "S"
}

// Call returns the system call in which a thread is, with its arguments. The name is "running" if the thread
// is in no system call, and "" if the thread cannot be read.
func (s *Server) Call(task string) (name string, args []uint64) { return kernel.Call(s.PID(), task) }

// Ended describes how the process ended.
func (s *Server) Ended() string {
	if !s.Exited() {
		return "it runs"
	}
	state, _, _ := s.Wait(time.Second)
	return state
}

// FDs returns the server's open descriptors.
func (s *Server) FDs() []int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	var fds []int
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

// What returns what a descriptor of the server refers to: "socket:[1234]", "anon_inode:[eventpoll]" or a path.
func (s *Server) What(fd int) string {
	to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", s.PID(), fd))
	return to
}

// Loops returns the sockets that each event loop watches. An epoll set belongs to a loop if a pipe is in it:
// the pipe that stops the server. The Go runtime's own epoll set has no pipe.
func (s *Server) Loops() [][]int {
	var loops [][]int
	for _, fd := range s.FDs() {
		if s.What(fd) != "anon_inode:[eventpoll]" {
			continue
		}
		var sockets []int
		loop := false
		for _, e := range kernel.EpollSet(s.PID(), fd) {
			switch what := s.What(int(e.Fd)); {
			case strings.HasPrefix(what, "socket:"):
				sockets = append(sockets, int(e.Fd))
			case strings.HasPrefix(what, "pipe:"):
				loop = true
			}
		}
		if loop {
			loops = append(loops, sockets)
		}
	}
	return loops
}

// Peers returns the port of each client by the server's descriptor of its connection.
func (s *Server) Peers() map[int]int {
	ports := map[string]int{} // by socket, such as "socket:[1234]"
	for _, table := range []string{"tcp", "tcp6"} {
		data, _ := os.ReadFile(filepath.Join("/proc/net", table))
		for line := range strings.Lines(string(data)) {
			// sl local_address rem_address st queues timer retransmits uid timeout inode
			f := strings.Fields(line)
			if len(f) < 10 || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", s.Port)) {
				continue
			}
			_, port, _ := strings.Cut(f[2], ":")
			if n, err := strconv.ParseUint(port, 16, 16); err == nil {
				ports["socket:["+f[9]+"]"] = int(n)
			}
		}
	}
	peers := map[int]int{}
	for _, fd := range s.FDs() {
		if port, ok := ports[s.What(fd)]; ok {
			peers[fd] = port
		}
	}
	return peers
}

// Limit lowers the server's RLIMIT_NOFILE so that the server can open n more descriptors. It returns the previous
// limit.
func (s *Server) Limit(n int) (before unix.Rlimit, err error) {
	used := map[int]bool{}
	for _, fd := range s.FDs() {
		used[fd] = true
	}
	limit := 0
	for free := n; used[limit] || free > 0; limit++ {
		if !used[limit] {
			free--
		}
	}
	if err := unix.Prlimit(s.PID(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return before, os.NewSyscallError("prlimit", err)
	}
	err = unix.Prlimit(s.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(limit), Max: before.Max}, nil)
	return before, os.NewSyscallError("prlimit", err)
}

// LoopsApart bounds the difference between two loops of stage 4, in connections. The loops move idle clients
// when the difference is larger than 4.
const LoopsApart = 5
