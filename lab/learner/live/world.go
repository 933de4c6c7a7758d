package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/variants"
)

const (
	// tick is the time between two observations.
	tick = 250 * time.Millisecond
	// maxConnections bounds the connections of all clients together, because lab and each server need a descriptor
	// for each.
	maxConnections = 2000
	// keepDone is how many clients that are done stay in the list.
	keepDone = 4
)

// A world is the servers and their clients.
type world struct {
	timeout  time.Duration // all time-outs of the servers
	patience time.Duration // of the new client in an experiment
	dir      string
	shop     *variants.Workshop
	all      []pitfalls.Pitfall
	stages   [stageCount]*stage

	mu      sync.Mutex
	clients []*client
	left    []*client // have hung up; the servers may not know yet
	lastID  int
	named   int    // clients since the list was last empty
	trial   *trial // the experiment that is shown, or nil
	state   *state
	news    chan struct{} // closed and replaced when state changes
}

// state is what the page shows.
type state struct {
	Stages  []stageView  `json:"stages"`
	Clients []clientView `json:"clients"`
	Trial   *trialView   `json:"trial"` // the experiment that is shown, or null
}

// open builds and starts the four servers.
func open(ctx context.Context, repo *variants.Repo, c *Command) (*world, error) {
	all, err := pitfalls.All(repo)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "live-")
	if err != nil {
		return nil, err
	}
	w := &world{timeout: c.Timeout, patience: c.Patience, dir: dir, all: all, news: make(chan struct{}), state: &state{}}
	if w.shop, err = repo.NewWorkshop(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := makeRoot(dir); err != nil {
		w.close()
		return nil, err
	}
	var errs [stageCount]error
	var wg sync.WaitGroup
	for i := range w.stages {
		w.stages[i] = &stage{n: i + 1, timeout: c.Timeout, root: dir, state: "starting", probe: &probe{}}
		wg.Go(func() { errs[i] = w.stages[i].start(ctx, w.shop, nil) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// close ends all clients and servers.
func (w *world) close() {
	w.hangUpAll()
	var wg sync.WaitGroup
	for _, s := range w.stages {
		if s == nil {
			continue
		}
		s.mu.Lock()
		server := s.server
		s.mu.Unlock()
		if server != nil {
			wg.Go(func() { stopServer(server) })
		}
	}
	wg.Wait()
	w.shop.Close()
	_ = os.RemoveAll(w.dir)
}

// watch observes all servers again and again until ctx ends.
func (w *world) watch(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		w.look()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// look observes all servers and publishes the new state. It takes one server after the other: if the four probes ran
// at the same time, they would measure how they share the CPUs.
func (w *world) look() {
	w.mu.Lock()
	clients := slices.Clone(w.clients)
	table := map[peer]int{}
	left := len(w.left)
	for _, c := range w.left {
		c.peers(table, leftID)
	}
	w.mu.Unlock()
	for _, c := range clients {
		c.peers(table, c.id)
	}
	next := &state{Stages: make([]stageView, stageCount), Clients: []clientView{}}
	for i, s := range w.stages {
		next.Stages[i] = s.look(table)
	}
	now := time.Now()
	for _, c := range clients {
		v := c.view(now)
		for i := range v.Cells {
			v.Cells[i].Place = place(&next.Stages[i], c.id)
		}
		next.Clients = append(next.Clients, v)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !next.holds(leftID) {
		w.left = w.left[left:] // no server has a connection of those that had left before this observation
	}
	if w.trial != nil {
		next.Trial = w.trial.view(next.Stages)
	}
	w.state = next
	close(w.news)
	w.news = make(chan struct{})
}

// current returns the last state, and a channel that is closed when there is a newer one.
func (w *world) current() (*state, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.news
}

// add adds a client for the reader, who must not disturb an experiment.
func (w *world) add(k *kind, only int) error {
	w.mu.Lock()
	busy := w.busy()
	w.mu.Unlock()
	if busy {
		return errBusy
	}
	_, err := w.connect(k, only)
	return err
}

// connect adds a client of a kind that connects to the stage only, or to all if only is 0.
func (w *world) connect(k *kind, only int) (*client, error) {
	servers := map[int]*process.Server{}
	for _, s := range w.stages {
		if server := s.running(); server != nil && (only == 0 || only == s.n) {
			servers[s.n] = server
		}
	}
	if len(servers) == 0 {
		return nil, errors.New("there is no server to connect to; start one again first")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropDone()
	open := len(servers) * k.connections()
	for _, c := range w.clients {
		open += len(c.ends)
	}
	if open > maxConnections {
		return nil, fmt.Errorf("more than %d connections are too many for this page; let some clients hang up first", maxConnections)
	}
	w.lastID++
	c := newClient(w.lastID, letters(w.named), k, servers)
	w.named++
	w.clients = append(w.clients, c)
	return c, nil
}

// dropDone takes clients that are done out of the list, the oldest first. The caller holds the lock.
func (w *world) dropDone() {
	now := time.Now()
	done := 0
	for i := len(w.clients) - 1; i >= 0; i-- {
		if w.clients[i].view(now).Done {
			if done++; done > keepDone {
				w.clients = slices.Delete(w.clients, i, i+1)
			}
		}
	}
}

// find returns the client with an id.
func (w *world) find(id int) (*client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.clients {
		if c.id == id {
			return c, nil
		}
	}
	return nil, fmt.Errorf("there is no client %d any more", id)
}

// step sends a client on.
func (w *world) step(c *client) {
	c.stepped.Store(true)
	c.each((*end).step)
}

// hangUp closes a client's connections and takes the client out of the list.
func (w *world) hangUp(c *client) {
	c.each((*end).hangUp)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients = slices.DeleteFunc(w.clients, func(o *client) bool { return o == c })
	w.left = append(w.left, c)
	if len(w.clients) == 0 {
		w.named = 0
	}
}

// hangUpAll closes all clients.
func (w *world) hangUpAll() {
	w.mu.Lock()
	clients := slices.Clone(w.clients)
	w.mu.Unlock()
	for _, c := range clients {
		w.hangUp(c)
	}
}

// replace puts a server with a bug, or the stage itself for "", into a stage's place.
func (w *world) replace(ctx context.Context, n int, id string) error {
	if n < 1 || n > stageCount {
		return fmt.Errorf("there is no stage %d", n)
	}
	var bug *pitfalls.Pitfall
	if id != "" {
		i := slices.IndexFunc(w.all, func(p pitfalls.Pitfall) bool { return p.ID == id && p.Stage == n })
		if i < 0 {
			return fmt.Errorf("stage %d has no pitfall %q", n, id)
		}
		bug = &w.all[i]
	}
	w.mu.Lock()
	busy := w.busy()
	w.mu.Unlock()
	if busy {
		return errBusy
	}
	return w.stages[n-1].replace(ctx, w.shop, bug)
}
