package live

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
)

// An observation is what /proc and sock_diag say of one server at one moment.
type observation struct {
	pid         int
	descriptors map[int]string // what each descriptor refers to
	conns       []kernel.Connection
	byInode     map[uint32]*kernel.Connection // those that the server has accepted
	backlog     int                           // connections that wait to be accepted
	limit       int                           // the length of the backlog
	listeners   map[uint32]bool
	tasks       []task
	sets        []set // the epoll sets of event loops, by descriptor
}

// A task is a thread.
type task struct {
	tid     int
	call    string // the system call, "running", or "" if the call cannot be read
	fds     []watched
	unknown bool // the descriptors that it waits for cannot be read
	stopped bool // by a signal or a debugger
}

// A set is an epoll set.
type set struct {
	fd  int
	fds []watched
}

// watched is a descriptor for which a thread or an epoll set waits.
type watched struct {
	fd    int
	write bool // waits until the client takes more bytes
}

// observe reads the state of a server.
func observe(pid, port int) (*observation, error) {
	o := &observation{pid: pid, descriptors: kernel.Descriptors(pid), listeners: map[uint32]bool{}}
	for l := range kernel.Listeners(port) {
		if !o.listeners[l.Inode] {
			o.listeners[l.Inode] = true
			o.backlog += int(l.Unread)
			o.limit += int(l.Unacked)
		}
	}
	var err error
	if o.conns, err = kernel.Connections(port); err != nil {
		return nil, err
	}
	o.index()
	for _, fd := range slices.Sorted(maps.Keys(o.descriptors)) {
		if o.descriptors[fd] == "anon_inode:[eventpoll]" {
			if s := o.epollSet(fd); o.isLoop(s) {
				o.sets = append(o.sets, s)
			}
		}
	}
	o.readTasks()
	return o, nil
}

// epollSet reads what an epoll set watches.
func (o *observation) epollSet(fd int) set {
	s := set{fd: fd}
	for _, e := range kernel.EpollSet(o.pid, fd) {
		s.fds = append(s.fds, watched{fd: int(e.Fd), write: e.Events&unix.EPOLLOUT != 0})
	}
	slices.SortFunc(s.fds, func(a, b watched) int { return cmp.Compare(a.fd, b.fd) })
	return s
}

// isLoop reports whether an epoll set belongs to an event loop. The Go runtime has a set too, with neither a pipe nor
// a socket in it.
func (o *observation) isLoop(s set) bool {
	return slices.ContainsFunc(s.fds, func(w watched) bool {
		what := o.descriptors[w.fd]
		return strings.HasPrefix(what, "pipe:") || strings.HasPrefix(what, "socket:")
	})
}

// readTasks reads which system call each thread is in.
func (o *observation) readTasks() {
	for _, name := range kernel.Tasks(o.pid) {
		tid, _ := strconv.Atoi(name)
		t := task{tid: tid}
		state := kernel.Stat(fmt.Sprintf("/proc/%d/task/%s/stat", o.pid, name))
		if len(state) == 0 || state[0] == "Z" || state[0] == "X" {
			continue
		}
		t.stopped = state[0] == "T" || state[0] == "t"
		var args []uint64
		t.call, args = kernel.Call(o.pid, name)
		t.fds, t.unknown = waitsFor(o.pid, t.call, args)
		if t.call == "" && state[0] == "R" {
			t.call = "running"
		}
		o.tasks = append(o.tasks, t)
	}
}

// waitsFor returns the descriptors of a system call.
func waitsFor(pid int, call string, args []uint64) (fds []watched, unknown bool) {
	if len(args) == 0 {
		return nil, call == ""
	}
	first := watched{fd: int(int32(args[0]))}
	switch call {
	case "poll":
		set, ok := kernel.PollSet(pid, args)
		for _, p := range set {
			fds = append(fds, watched{fd: int(p.Fd), write: p.Events&unix.POLLOUT != 0})
		}
		return fds, !ok
	case "sendto", "sendmsg", "write", "writev", "sendfile":
		first.write = true
		return []watched{first}, false
	case "accept", "accept4", "recvfrom", "recvmsg", "read", "readv", "epoll_wait":
		return []watched{first}, false
	}
	return nil, false
}

// inode returns the inode of a socket, or 0 if the descriptor is no socket.
func (o *observation) inode(fd int) (inode uint32) {
	_, _ = fmt.Sscanf(o.descriptors[fd], "socket:[%d]", &inode)
	return inode
}

// listens reports whether a descriptor is a listening socket.
func (o *observation) listens(fd int) bool { return o.listeners[o.inode(fd)] }

// conn returns the connection of a descriptor, or nil.
func (o *observation) conn(fd int) *kernel.Connection {
	if inode := o.inode(fd); inode != 0 {
		return o.byInode[inode]
	}
	return nil
}

// index finds the connections by their inodes.
func (o *observation) index() {
	o.byInode = map[uint32]*kernel.Connection{}
	for i := range o.conns {
		if c := &o.conns[i]; c.Inode != 0 {
			o.byInode[c.Inode] = c
		}
	}
}

// remotes returns the clients' addresses of the connections among some descriptors.
func (o *observation) remotes(fds []watched) (all []netip.AddrPort) {
	for _, w := range fds {
		if c := o.conn(w.fd); c != nil {
			all = append(all, c.Remote)
		}
	}
	return all
}
