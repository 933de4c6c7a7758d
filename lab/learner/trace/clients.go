package trace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/variants"
	"fourways.example/common/servertest/wire"
	"fourways.example/lab/learner/trace/scene"
	"fourways.example/lab/learner/trace/tape"
)

// threeClients is the name of the scenario in which a slow, an idle and a quick client meet.
const threeClients = "three-clients"

// The schedule of the three clients. It is the same for all stages, so that their pictures have the same time axis.
const (
	slowPause  = 100 * time.Millisecond // between the three parts of the slow client's request
	idleComes  = 30 * time.Millisecond
	quickComes = 60 * time.Millisecond
	idleLeaves = 300 * time.Millisecond
	allOver    = 315 * time.Millisecond
)

// request is the request of the quick client.
var request = wire.Request("GET", "/plain.txt", "", "Connection: close")

// threeText says what to see in the picture of the three clients.
const threeText = "A slow client sends its request in three parts, an idle one sends nothing, and a quick one sends a whole request. " +
	"Below them is a lane for each thread of the server. The colour of a bar says for which client the thread waits or works; grey is for any client."

// pitfallText says what to see in the picture of a pitfall.
const pitfallText = "Above, the server with the bug; below, the server without it. Each has a lane for the clients' actions, which are explained " +
	"below by their numbers, and one for each thread. The colour of a bar says for which client the thread waits or works; grey is for any client."

// waited says how long the quick client has waited.
func waited(s *scene.Scene) string {
	for _, st := range s.Steps {
		if st.Client == "quick" && st.Saw != "" {
			if took := st.To - st.From; took > 20*time.Millisecond { // a call costs more under strace than it should
				return fmt.Sprintf("the quick client waits %d ms", took.Round(time.Millisecond)/time.Millisecond)
			}
			return "the quick client gets its page at once"
		}
	}
	return ""
}

// titles name the stages in a picture.
var titles = []string{
	"",
	"Stage 1: one thread, one connection after the other",
	"Stage 2: a pool of threads, each waits for one connection",
	"Stage 3: the same pool, for IPv4 and IPv6",
	"Stage 4: an event loop waits for all connections at once",
}

// flags are the flags of the stages' servers. Two threads would be enough for the clients that wait at a time.
func flags(stage int) []string {
	switch stage {
	case 1:
		return []string{"-s"}
	case 4:
		return []string{"-s", "-n", "1"}
	}
	return []string{"-s", "-n", "3"}
}

// recordClients records the three clients at a server of the stage.
func recordClients(ctx context.Context, shop *variants.Workshop, stage int) (*tape.Tape, error) {
	prog, err := shop.Real(ctx, stage)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "trace-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	root, err := docroot.New(dir)
	if err != nil {
		return nil, err
	}
	r := newRecorder(dir)
	r.paths[root.Dir] = "/srv"
	server, err := r.under(prog).Begin(process.Config{Root: root.Dir, Dir: root.Dir, Flags: flags(stage)})
	if err != nil {
		return nil, err
	}
	defer server.Kill()
	if err := warmUp(server); err != nil {
		return nil, err
	}
	a := &actors{server: server, start: time.Now().Add(10 * time.Millisecond), clients: map[int]string{}}
	a.perform()
	err = server.Stop()
	t := &tape.Tape{Title: titles[stage], Port: server.Port, Clients: a.clients, Steps: a.steps}
	t.Sort()
	r.await()
	if err = errors.Join(err, a.failed()); err != nil {
		return nil, err
	}
	t.End = t.Steps[0].From + allOver
	t.Strace, err = r.strace(t, mostLines)
	return t, err
}

// actors are the three clients.
type actors struct {
	server *process.Server
	start  time.Time

	mu      sync.Mutex
	clients map[int]string
	steps   []tape.Step
	errs    []error
}

func (a *actors) failed() error { return errors.Join(a.errs...) }

// perform returns when all three clients have played their part.
func (a *actors) perform() {
	var all sync.WaitGroup
	all.Go(func() {
		a.at(0)
		c := a.connect("slow")
		if c == nil {
			return
		}
		a.step("slow", "sends ⅓ of its request", func() string { _, _ = c.Write([]byte("GET /plain.txt HTTP/1.1\r\n")); return "" })
		a.at(slowPause)
		a.step("slow", "sends ⅓", func() string { _, _ = c.Write([]byte("Host: localhost\r\n")); return "" })
		a.at(2 * slowPause)
		a.step("slow", "sends the rest", func() string { _, _ = c.Write([]byte("Connection: close\r\n\r\n")); return a.response(c) })
		_ = c.Close()
	})
	all.Go(func() {
		a.at(idleComes)
		c := a.connect("idle")
		if c == nil {
			return
		}
		a.step("idle", "connects and sends nothing", func() string { return "" })
		a.at(idleLeaves)
		a.step("idle", "leaves", func() string { _ = c.Close(); return "" })
	})
	all.Go(func() {
		a.at(quickComes)
		c := a.connect("quick")
		if c == nil {
			return
		}
		a.step("quick", "sends a whole request", func() string {
			_, _ = c.Write([]byte(request))
			return a.response(c)
		})
		_ = c.Close()
	})
	all.Wait()
	a.at(allOver + 50*time.Millisecond) // the recording ends before the server stops
}

// at waits until the schedule has come to d.
func (a *actors) at(d time.Duration) { time.Sleep(time.Until(a.start.Add(d))) }

// connect connects the client called name.
func (a *actors) connect(name string) *net.TCPConn {
	conn, err := a.server.Dial(process.DialOptions{})
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.errs = append(a.errs, fmt.Errorf("the client %s cannot connect: %w", name, err))
		return nil
	}
	a.clients[conn.LocalAddr().(*net.TCPAddr).Port] = name
	return conn
}

// step carries out one step of a client, and notes it with its times.
func (a *actors) step(name, did string, do func() (saw string)) {
	s := tape.Step{Client: name, Did: did, From: since1970(time.Now())}
	s.To = s.From
	if s.Saw = do(); s.Saw != "" {
		s.To = since1970(time.Now())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps = append(a.steps, s)
}

// response reads the response to a request, and returns its status.
func (a *actors) response(conn *net.TCPConn) string {
	_ = conn.SetReadDeadline(time.Now().Add(process.Patience))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		err = resp.Body.Close()
	}
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.errs = append(a.errs, err)
		return err.Error()
	}
	return "gets its page"
}

// warmUp requests the page once before the recording, so that the recorded requests find it in the server's cache.
func warmUp(server *process.Server) error {
	conn, err := server.Dial(process.DialOptions{})
	if err != nil {
		return err
	}
	a := &actors{}
	_, _ = conn.Write([]byte(request))
	a.response(conn)
	_ = conn.Close()
	kernel.Eventually(process.Patience, func() bool { return server.Connections() == 0 && !server.Awake() })
	return a.failed()
}

// since1970 returns a time as strace prints it.
func since1970(t time.Time) time.Duration { return time.Duration(t.UnixNano()) }
