package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// memoryTick is the time between two checks of the heap. A check takes some 15 µs.
	memoryTick = 3 * time.Second
	// memorySlack is the number of bytes by which the heap may exceed five quarters of its
	// smallest size. Less than that is not worth a collection.
	memorySlack = 256 << 10
	// busyTime is the least CPU time that a busy server has used since memory was last
	// returned. Closing a connection, which makes garbage, takes some 20 µs.
	busyTime = time.Millisecond
	// quietTicks is the number of checks after which memory is returned even if the server
	// was not busy. Thus all memory is returned within 30 s of the end of a load.
	quietTicks = 7
)

// ReturnMemory returns memory to the system after a load, until the server stops. Each
// stage starts it in a goroutine of its own, so that no thread that serves does this work.
//
// Without it, Go would keep the memory: it collects garbage when the heap grows, and the
// heap of a server without requests does not grow. After many slow uploads, a server would
// hold 100 MB for the rest of the day.
//
// Returning memory costs a garbage collection. With 10,000 idle connections, this takes 5 to
// 14 ms of CPU time, at most every 21 s, which is 0.07 % of a CPU. Under load, with 3,000
// bodies and 100 MB, it takes 8 to 16 ms every 3 s. While the heap is about as small as it
// ever was, only the checks cost time.
func (c *Config) ReturnMemory() {
	tick := time.NewTicker(memoryTick)
	defer tick.Stop()
	for m := newMemory(); ; m.check() {
		select {
		case <-tick.C:
		case <-c.Stop.Done():
			return
		}
	}
}

// memory is the state of ReturnMemory. Only its goroutine uses it.
type memory struct {
	samples [3]metrics.Sample
	least   uint64        // the smallest size of the heap so far, in bytes, at the start or after a return
	used    time.Duration // CPU time of the process at the last return
	quiet   int           // checks since the last return
}

func newMemory() *memory {
	m := &memory{}
	for i, class := range []string{"objects", "unused", "free"} {
		m.samples[i].Name = "/memory/classes/heap/" + class + ":bytes"
	}
	m.least = m.heap()
	return m
}

// check returns memory to the system if this is worth a collection. It reports whether it
// returned any.
func (m *memory) check() bool {
	m.quiet++
	if m.heap() <= m.least+m.least/4+memorySlack || cpuTime()-m.used < busyTime && m.quiet < quietTicks {
		return false
	}
	runtime.GC() // the first collection moves the content of a sync.Pool aside, the second frees it
	debug.FreeOSMemory()
	m.least = min(m.least, m.heap())
	m.used, m.quiet = cpuTime(), 0
	return true
}

// heap returns how many bytes of memory the heap holds, including garbage.
func (m *memory) heap() (bytes uint64) {
	metrics.Read(m.samples[:])
	for _, s := range m.samples {
		bytes += s.Value.Uint64()
	}
	return bytes
}

// cpuTime returns the CPU time that the process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
