package site

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"fourways.example/common/h1"
)

const (
	maxOpen  = 256                           // entries in the cache, so also files it holds open
	maxSmall = 16 << 10                      // files up to this size are kept in memory, not open
	maxAge   = int64(500 * time.Millisecond) // how long an entry is used without a look at the disk
)

// kind is what a path led to.
type kind uint8

const (
	nothing kind = iota // no file or folder of this name
	other               // what is never served: a FIFO, a device, a link that leads out of the root
	denied              // what this process may not read
	broken              // a file that could not be read
	folder
	regular // a file
)

// entry is what one path led to when it was opened. After that nothing of it
// changes but the counters. An entry that shows the file as it is not any more is
// replaced by another one, while responses may still be sending from the first.
//
// The file itself can change under an open entry, until the next look. Responses in
// that half second mix old fields and new bytes, as with every server that does not
// copy what it sends; the length is right in any case, because h1 ends the connection
// when a file has become too short.
type entry struct {
	kind    kind
	private bool // it really lies in /private, whatever path led there

	file    *os.File // open, nil if content is in memory; its Fd is non-blocking, which regular files ignore
	content []byte   // all of a small file, else nil
	size    int64
	stamp   stamp // tells whether the file on disk is still this one
	racy    bool  // it was changed so shortly before it was read that stamp may not tell

	etag     []byte // with its quotes; a part of fields
	modified int64  // Last-Modified in Unix seconds
	lastMod  []byte // and as a text; a part of fields
	fields   []byte // all field lines of a 200
	common   int    // fields[:common] are those that a 304 has as well
	untyped  int    // fields[:untyped] are all but Content-Type

	refs    atomic.Int32 // one of the cache and one for each response; the last one closes file
	checked atomic.Int64 // when the disk was last looked at, on the site's clock
	used    atomic.Int64 // when it was last asked for
}

// FD is the open file, for sendfile(2).
func (e *entry) FD() int { return int(e.file.Fd()) }

// Release gives one reference back.
func (e *entry) Release() {
	if e.refs.Add(-1) == 0 && e.file != nil {
		_ = e.file.Close()
	}
}

// idle tells whether nobody but the cache has a reference. True under the cache's
// lock, where nobody can take one.
func (e *entry) idle() bool { return e.refs.Load() == 1 }

// send adds n bytes of the file from offset off to w's body. The caller keeps its
// reference.
func (e *entry) send(w *h1.Response, off, n int64) {
	if e.file == nil {
		w.Bytes(e.content[off : off+n])
		return
	}
	e.refs.Add(1)
	w.File(e, off, n)
}

// cache keeps the entries that were asked for last, for all workers together. Only
// files are kept: a path that leads to nothing is looked for each time, so that a
// new file is seen at once.
//
// The lock is held for a look at the map and never during a system call; whoever
// finds an entry too old looks at the disk while the others go on with the old one.
type cache struct {
	limit int
	// load opens what path leads to; called without the lock. Its only error is that
	// there are no descriptors left.
	load func(path string) (*entry, error)

	mu      sync.RWMutex
	entries map[string]*entry // by decoded path
}

func newCache(limit int, load func(string) (*entry, error)) *cache {
	return &cache{limit: limit, load: load, entries: make(map[string]*entry, limit)}
}

// get returns what path leads to, with a reference that the caller has to release.
// now is the time on the site's clock.
func (c *cache) get(path []byte, now int64) (*entry, error) {
	old := c.find(path)
	if old != nil {
		old.used.Store(now)
		checked := old.checked.Load()
		// Of several who find it too old, one looks.
		if now-checked < maxAge || !old.checked.CompareAndSwap(checked, now) {
			return old, nil
		}
	}
	return c.look(string(path), old, now)
}

// find returns the entry of path with a reference, or nil.
func (c *cache) find(path []byte) *entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.entries[string(path)]
	if e != nil {
		e.refs.Add(1)
	}
	return e
}

// look opens what path leads to now and puts it in the place of old, which may be
// nil and whose reference it takes over. It opens even where a stat would do: that
// is as many system calls but one, and answers where the file lies as well.
func (c *cache) look(path string, old *entry, now int64) (*entry, error) {
	e, err := c.load(path)
	if err != nil {
		c.drop(func(e *entry) bool { return e.file != nil && e.idle() })
		e, err = c.load(path)
	}
	switch {
	case err != nil && old != nil:
		return old, nil // better than none; the next look is half a second away
	case err != nil:
		return nil, err
	case old != nil && !old.racy && old.kind == e.kind && old.private == e.private && old.stamp == e.stamp:
		e.Release()
		return old, nil
	case e.kind != regular:
		c.remove(path, old)
		return e, nil
	}
	e.checked.Store(now)
	e.used.Store(now)
	e.refs.Add(1) // the cache's
	if out := c.insert(path, e); out != nil {
		out.Release()
	}
	if old != nil {
		old.Release()
	}
	return e, nil
}

// insert puts e at path and returns the entry that had to go for it, if any. The
// caller releases that: closing a file is a system call.
func (c *cache) insert(path string, e *entry) (out *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out = c.entries[path]
	if out == nil && len(c.entries) >= c.limit {
		victim := c.victim()
		out = c.entries[victim]
		delete(c.entries, victim)
	}
	c.entries[path] = e
	return out
}

// victim finds the entry that was not used for longest, if possible one that nobody
// is sending: closing such a one gives its descriptor back at once. It looks at all
// of them, which is little beside the open that made it necessary.
func (c *cache) victim() (path string) {
	var best *entry
	var bestIdle bool
	for p, e := range c.entries {
		idle := e.idle()
		if best == nil || idle && !bestIdle || idle == bestIdle && e.used.Load() < best.used.Load() {
			path, best, bestIdle = p, e, idle
		}
	}
	return path
}

// remove takes old out of the cache if it is still there, and gives the caller's
// reference back too. old may be nil.
func (c *cache) remove(path string, old *entry) {
	if old == nil {
		return
	}
	c.mu.Lock()
	there := c.entries[path] == old
	if there {
		delete(c.entries, path)
	}
	c.mu.Unlock()
	if there {
		old.Release()
	}
	old.Release()
}

// drop takes out all entries for which which is true.
func (c *cache) drop(which func(*entry) bool) {
	var out []*entry
	c.mu.Lock()
	for path, e := range c.entries {
		if which(e) {
			delete(c.entries, path)
			out = append(out, e)
		}
	}
	c.mu.Unlock()
	for _, e := range out {
		e.Release()
	}
}
