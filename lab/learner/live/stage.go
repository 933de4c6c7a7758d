package live

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
)

const (
	stageCount = 4
	// pool is the number of threads of stages 2 and 3, and eventLoops that of stage 4. Both are small, so that
	// a few clients fill a pool.
	pool, eventLoops = 4, 2
)

// techniques says in a few words how each stage waits.
var techniques = []string{
	"",
	"one thread, one client after the other",
	fmt.Sprintf("%d threads, each with one client at a time", pool),
	fmt.Sprintf("%d threads; IPv4 and IPv6", pool),
	fmt.Sprintf("%d event loops; IPv4 and IPv6", eventLoops),
}

// A stage is the place of a stage on the page. Another server, with a bug, may stand in it.
type stage struct {
	n       int
	timeout time.Duration
	root    string

	mu     sync.Mutex
	server *process.Server
	bug    *pitfalls.Pitfall // nil for the stage itself
	state  string            // "up", "starting", or "ended"
	said   string            // why it is not up
	memory *memory
	probe  *probe
}

// A stageView is a stage as the page shows it.
type stageView struct {
	N         int       `json:"n"`
	Name      string    `json:"name"`
	Technique string    `json:"technique"`
	Pitfall   string    `json:"pitfall"` // the ID of the bug, or ""
	Bug       string    `json:"bug"`     // what the bug is
	State     string    `json:"state"`
	Said      string    `json:"said"`
	Port      int       `json:"port"`
	PID       int       `json:"pid"`
	Probe     probeView `json:"probe"`
	description
}

// flags returns the flags of a server.
func flags(stage int, timeout time.Duration) []string {
	all := []string{"-s"}
	for _, name := range []string{"idle", "header", "body", "write"} {
		all = append(all, fmt.Sprintf("--%s-timeout=%v", name, timeout))
	}
	switch stage {
	case 2, 3:
		all = append(all, fmt.Sprint("-n", pool))
	case 4:
		all = append(all, fmt.Sprint("-n", eventLoops))
	}
	return all
}

// start builds and starts a server in the stage's place. The caller has stopped the one before.
func (s *stage) start(ctx context.Context, shop *variants.Workshop, bug *pitfalls.Pitfall) error {
	server, err := s.begin(ctx, shop, bug)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.state, s.said = "ended", err.Error()
		return err
	}
	s.server, s.state, s.said = server, "up", ""
	s.probe = &probe{}
	s.memory = newMemory()
	s.memory.known = bug == nil
	if bug == nil && (s.n == 2 || s.n == 3) {
		s.memory.roles = poolThreads(server)
		s.memory.known = len(s.memory.roles) == pool
	}
	return nil
}

func (s *stage) begin(ctx context.Context, shop *variants.Workshop, bug *pitfalls.Pitfall) (*process.Server, error) {
	var prog *process.Program
	var err error
	if bug != nil {
		prog, err = shop.Broken(ctx, &bug.Variant)
	} else {
		prog, err = shop.Real(ctx, s.n)
	}
	if err != nil {
		return nil, err
	}
	all := flags(prog.Stage, s.timeout)
	if bug != nil && prog.Stage == s.n { // some bugs show only with a flag, such as a socket for each family
		all = slices.Concat(bug.Flags, all)
	}
	return prog.Begin(process.Config{Root: s.root, Flags: all})
}

// replace stops the server and starts another one in its place.
func (s *stage) replace(ctx context.Context, shop *variants.Workshop, bug *pitfalls.Pitfall) error {
	s.mu.Lock()
	if s.state == "starting" {
		s.mu.Unlock()
		return fmt.Errorf("a server for stage %d is being started; wait for it", s.n)
	}
	old := s.server
	s.server, s.bug, s.state, s.said = nil, bug, "starting", "is being built and started"
	s.mu.Unlock()
	if old != nil {
		stopServer(old)
	}
	return s.start(ctx, shop, bug)
}

// stopServer stops a server. It gets little time, because nobody waits for its last answers.
func stopServer(server *process.Server) {
	server.Signal(syscall.SIGTERM)
	if _, _, ok := server.Wait(time.Second); !ok {
		server.Kill()
	}
}

// running returns the server, or nil if it is not up.
func (s *stage) running() *process.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil && s.server.Exited() && s.state == "up" {
		s.state, s.said = "ended", "the server has ended: "+s.server.Ended()+lastWords(s.server.Stderr.String())
	}
	if s.state != "up" {
		return nil
	}
	return s.server
}

// lastWords returns what a server has printed, without its name in front of each line: the page says whose words they are.
func lastWords(printed string) string {
	words := ""
	for line := range strings.Lines(printed) {
		if name, rest, ok := strings.Cut(line, ": "); ok && slices.Contains(stages.Dirs[:], name) {
			line = rest
		}
		words += "\n" + strings.TrimRight(line, "\n")
		if len(words) > 2000 {
			return words[:2000] + "…"
		}
	}
	return words
}

// poolThreads finds out which threads of a server are its pool. It connects as many clients as there are threads: each
// client then has a thread of its own, which waits for its first byte. A worker of the pool keeps its thread.
func poolThreads(server *process.Server) map[int]string {
	var remotes []netip.AddrPort
	for range pool {
		conn, err := server.Dial(process.DialOptions{})
		if err != nil {
			return map[int]string{}
		}
		defer conn.Close()
		remotes = append(remotes, netip.MustParseAddrPort(conn.LocalAddr().String()))
	}
	roles := map[int]string{}
	kernel.Eventually(2*time.Second, func() bool {
		clear(roles)
		o, err := observe(server.PID(), server.Port)
		if err != nil {
			return true
		}
		for _, t := range o.tasks {
			for _, r := range o.remotes(t.fds) {
				if slices.Contains(remotes, r) {
					roles[t.tid] = fmt.Sprintf("thread %d", len(roles)+1)
				}
			}
		}
		return len(roles) == pool
	})
	return roles
}

// look probes and observes the server once.
func (s *stage) look(clients map[peer]int) stageView {
	server := s.running()
	s.mu.Lock()
	v := stageView{N: s.n, Name: stages.Dirs[s.n], Technique: techniques[s.n], State: s.state, Said: s.said}
	if s.bug != nil {
		v.Pitfall, v.Bug = s.bug.ID, s.bug.Bug
	}
	probe, memory := s.probe, s.memory
	s.mu.Unlock()
	v.Threads, v.Conns = []threadView{}, []connView{}
	if server == nil {
		return v
	}
	v.Port, v.PID = server.Port, server.PID()
	probe.round(server)
	var local netip.AddrPort
	v.Probe, local = probe.view()
	o, err := observe(v.PID, v.Port)
	if err != nil {
		v.Said = err.Error()
		return v
	}
	v.description = describe(o, s.n, memory, func(remote netip.AddrPort) int {
		if id := clients[peer{s.n, remote}]; id != 0 {
			return id
		}
		if remote == local {
			return probeID
		}
		return strangerID
	})
	return v
}

// makeRoot makes the folder that all servers serve. The large file takes no space on the disk.
func makeRoot(dir string) error {
	if err := os.WriteFile(dir+"/"+smallFile, []byte("a small file\n"), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/"+largeFile, nil, 0o644); err != nil {
		return err
	}
	return os.Truncate(dir+"/"+largeFile, largeSize)
}
