package process

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fourways.example/common/servertest/kernel"
)

// receives are the system calls in which a thread waits for bytes of one client. The other one is poll, with one client.
var receives = []string{"recvfrom", "recvmsg", "read", "readv"}

// A blockage is what the kernel shows of a server that answers nobody.
type blockage struct {
	calls    map[string]int // how many threads are in each system call
	stuck    int            // threads that wait for bytes of one client
	watched  int            // of these clients, those in an epoll set
	watching int            // clients in any epoll set
	deserted int            // epoll sets of event loops for which no thread waits
}

// Blocked says in a line why a server answers nobody: event loops wait for one client each, or no epoll set watches the
// clients. It returns "" if the kernel does not show which.
func (s *Server) Blocked() string {
	clients := s.Peers()
	maps.DeleteFunc(clients, func(_, port int) bool { return port == 0 }) // listening sockets
	if len(clients) == 0 {
		return ""
	}
	sets := s.epollSets()
	b := blockage{calls: map[string]int{}}
	attended := map[int]bool{}
	for _, task := range s.Tasks() {
		name, args := s.Call(task)
		if name == "" {
			return ""
		}
		b.calls[name]++
		if name == "epoll_wait" {
			attended[int(args[0])] = true
		}
		if fd, ok := s.waitsFor(name, args, clients); ok {
			b.stuck++
			for _, set := range sets {
				if slices.Contains(set, fd) {
					b.watched++
				}
			}
		}
	}
	for epoll, set := range sets {
		for _, fd := range set {
			if _, ok := clients[fd]; ok {
				b.watching++
			}
		}
		if !attended[epoll] && slices.ContainsFunc(set, s.served) {
			b.deserted++
		}
	}
	return b.String()
}

// epollSets returns the descriptors in each epoll set of the server.
func (s *Server) epollSets() map[int][]int {
	sets := map[int][]int{}
	for _, fd := range s.FDs() {
		if s.What(fd) == "anon_inode:[eventpoll]" {
			for _, e := range kernel.EpollSet(s.PID(), fd) {
				sets[fd] = append(sets[fd], int(e.Fd))
			}
		}
	}
	return sets
}

// waitsFor returns the client for which a thread waits in a system call. ok is false if there is none, or if it waits for
// several.
func (s *Server) waitsFor(name string, args []uint64, clients map[int]int) (fd int, ok bool) {
	if slices.Contains(receives, name) {
		_, ok = clients[int(args[0])]
		return int(args[0]), ok
	}
	if name != "poll" {
		return 0, false
	}
	set, _ := kernel.PollSet(s.PID(), args)
	found := 0
	for _, p := range set {
		if _, ok := clients[int(p.Fd)]; ok {
			fd = int(p.Fd)
			found++
		}
	}
	return fd, found == 1
}

// served reports whether a descriptor in an epoll set shows that the set is an event loop's. The Go runtime's own set has
// an eventfd and files of /proc.
func (s *Server) served(fd int) bool {
	what := s.What(fd)
	return strings.HasPrefix(what, "pipe:") || strings.HasPrefix(what, "socket:") || what == "anon_inode:[signalfd]"
}

// String describes the blockage. A loop that waits for a client has left its epoll set. If more threads wait than there are
// such sets, they are a pool, and the set belongs to the thread that accepts.
func (b *blockage) String() string {
	switch {
	case b.watched > 0 || b.stuck > 0 && b.stuck <= b.deserted:
		return fmt.Sprintf("Event loops are blocked. Threads that wait for bytes of one client: %d; epoll sets for which nobody waits: %d.", b.stuck, b.deserted)
	case b.watching > 0 || b.stuck == 0:
		return ""
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(b.calls)) {
		list = append(list, fmt.Sprintf("%s (%d)", name, b.calls[name]))
	}
	return "No epoll set of the server watches a client. Its threads are in " + strings.Join(list, ", ") + "."
}
