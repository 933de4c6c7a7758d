package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// memoryTick is how often ReturnMemory looks at the heap. A look takes some 15 µs.
	memoryTick = 3 * time.Second
	// memorySlack is how many bytes more than at its smallest, and a quarter of that, the
	// heap may hold before they are worth a collection.
	memorySlack = 256 << 10
	// busyTime is how much CPU time shows that the server has done something since memory
	// was last returned. Closing a connection, which makes garbage, takes some 20 µs.
	busyTime = time.Millisecond
	// quietTicks is after how many looks memory is returned even if nothing seems to have
	// happened: within 30 s of the end of a load, all of it is gone.
	quietTicks = 7
)

// ReturnMemory gives memory that a load has left behind back to the system, until the
// server stops. Each stage starts it as a goroutine of its own, so no thread that serves
// does this work.
//
// Go keeps such memory: garbage is collected when the heap grows, and the heap of a server
// that has nothing more to do does not grow. A server that has served a flood of
// slow uploads would hold 100 MB for the rest of the day.
//
// Returning memory costs a collection: with 10,000 idle connections 5 to 14 ms of CPU time,
// every 21 s at most while they stay idle, which is 0.07 % of a CPU. Under load, with 3,000
// bodies and 100 MB held, it was 8 to 16 ms every 3 s. A server whose heap is about as small as it
// ever was pays for the looks alone.
func (c *Config) ReturnMemory() {
	tick := time.NewTicker(memoryTick)
	defer tick.Stop()
	for m := newMemory(); ; m.look() {
		select {
		case <-tick.C:
		case <-c.Stop.Done():
			return
		}
	}
}

// memory is what ReturnMemory knows. It belongs to that goroutine.
type memory struct {
	samples [3]metrics.Sample
	least   uint64        // the fewest bytes that the heap held: at the start, or after a return
	used    time.Duration // CPU time of the process at the last return
	quiet   int           // looks since then
}

func newMemory() *memory {
	m := &memory{}
	for i, class := range []string{"objects", "unused", "free"} {
		m.samples[i].Name = "/memory/classes/heap/" + class + ":bytes"
	}
	m.least = m.heap()
	return m
}

// look returns memory if there is some to return. It tells whether it did.
func (m *memory) look() bool {
	m.quiet++
	if m.heap() <= m.least+m.least/4+memorySlack || cpuTime()-m.used < busyTime && m.quiet < quietTicks {
		return false
	}
	runtime.GC() // one collection moves what is in a sync.Pool aside, the next one frees it
	debug.FreeOSMemory()
	m.least = min(m.least, m.heap())
	m.used, m.quiet = cpuTime(), 0
	return true
}

// heap is how many bytes of the system's memory the heap holds, garbage included.
func (m *memory) heap() (bytes uint64) {
	metrics.Read(m.samples[:])
	for _, s := range m.samples {
		bytes += s.Value.Uint64()
	}
	return bytes
}

// cpuTime is the CPU time that the process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
