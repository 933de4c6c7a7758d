package accesslog

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// maxQueue bounds the bytes that wait for the stream: some 10,000 lines of the access
	// log. If its reader is slower for longer than that, lines are dropped.
	maxQueue = 1 << 20
	// smallQueue is the memory in bytes that an Output keeps while there is little to
	// write. A busy moment may need maxQueue, but should not hold it afterwards.
	smallQueue = 16 << 10
	// gather is the least time between two writes: at most 100 writes a second, however
	// many lines there are.
	gather = 10 * time.Millisecond
	// retry is the least time between a write that failed and the next one. A full disk
	// stays full for a while.
	retry = 500 * time.Millisecond
)

// An Output is a queue of lines in front of a stream, and a goroutine that writes them.
// A goroutine that adds lines never waits for the reader of the stream: a full pipe, a
// stopped terminal or a full disk must not hold up the clients. Lines that do not fit in
// the queue, and lines that cannot be written, are dropped. A later line reports how many.
//
// EPIPE ends the stream for good, because its reader has left (`server | head -1`). After
// any other error the Output goes on, because the error may be temporary: a disk gets room
// again.
type Output struct {
	wake    chan struct{} // tells the writer that the queue is not empty; holds at most one token
	closing chan struct{} // closed by Close: the writer writes the rest and ends
	done    chan struct{} // closed by the writer when it ends
	closed  sync.Once
	gone    atomic.Bool // the writer has ended: Write drops its lines

	mu    sync.Mutex // guards what follows
	queue []byte     // whole lines that the writer has not taken yet
	lost  int        // lines that did not fit since the writer last took the queue
	last  []byte     // set by Last; nil before
}

// NewOutput starts an output that writes to stream.
func NewOutput(stream io.Writer) *Output {
	o := &Output{
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		queue:   make([]byte, 0, smallQueue),
	}
	go o.write(stream)
	return o
}

// Write adds p, which is one or several whole lines, to the queue, or drops all of it. It
// never waits for the stream and never fails.
func (o *Output) Write(p []byte) (int, error) {
	if o.gone.Load() {
		return len(p), nil
	}
	o.mu.Lock()
	first := len(o.queue) == 0 && o.lost == 0
	switch {
	case o.last != nil: // nothing follows the last line
	case len(o.queue)+len(p) <= maxQueue:
		o.queue = append(o.queue, p...)
	default:
		o.lost += lines(p)
	}
	o.mu.Unlock()
	if first {
		o.wakeWriter()
	}
	return len(p), nil
}

// Last sets the line that Close makes the Output write after all others, also after a
// report of dropped lines. Lines that are added later are dropped without a report.
func (o *Output) Last(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = bytes.Clone(line)
}

// Close ends outputs. Each writes the lines that are still in its queue. Close waits for
// all of them together at most for patience, so that a reader that does not read cannot
// keep the process from ending. Lines that are added later are dropped.
func Close(patience time.Duration, outputs ...*Output) {
	for _, o := range outputs {
		o.closed.Do(func() { close(o.closing) })
	}
	late := time.After(patience)
	for _, o := range outputs {
		select {
		case <-o.done:
		case <-late:
			return
		}
	}
}

func (o *Output) wakeWriter() {
	select {
	case o.wake <- struct{}{}:
	default: // a token is there already
	}
}

// take swaps the queue for an empty one.
func (o *Output) take(empty []byte) (queue []byte, lost int, last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue, lost = o.queue, o.lost
	o.queue, o.lost = empty, 0
	return queue, lost, o.last
}

// write is the writer, a goroutine. It holds no lock while it writes.
func (o *Output) write(stream io.Writer) {
	defer close(o.done)
	defer o.gone.Store(true)
	s := sink{stream: stream}
	spare := make([]byte, 0, smallQueue)
	for closing := false; !closing; {
		select {
		case <-o.wake:
		case <-o.closing:
			closing = true
		}
		queue, lost, last := o.take(spare)
		err := s.write(queue, lost)
		if err == nil && closing && len(last) > 0 {
			_, err = s.put(last)
		}
		pause := gather
		if errors.Is(err, syscall.EPIPE) {
			return // the reader has left; the server goes on without it
		} else if err != nil {
			pause = retry
			o.wakeWriter() // the report of dropped lines is due, even if no line follows
		}
		if spare = queue[:0]; cap(spare) > smallQueue && len(queue) < smallQueue/4 {
			spare = make([]byte, 0, smallQueue)
		}
		select {
		case <-time.After(pause):
		case <-o.closing:
		}
	}
}

// A sink is a stream and what must still be written to it after an error. It belongs to
// the writer.
type sink struct {
	stream io.Writer
	torn   bool  // the last byte that the stream took does not end a line
	lost   int   // lines that were dropped and not reported yet
	reason error // the last error of the stream; nil if lines were dropped because the queue was full
	note   []byte
}

// write writes a queue. The late lines did not fit in it and are reported after it. After
// an error, write tries nothing more.
func (s *sink) write(queue []byte, late int) error {
	err := s.report()
	if err == nil && len(queue) > 0 {
		var n int
		n, err = s.put(queue)
		queue = bytes.TrimPrefix(queue[n:], []byte{'\n'}) // a line that lacks only its end is not lost
	}
	if err != nil {
		s.lost += lines(queue)
	}
	s.lost += late
	if err != nil {
		return err
	}
	return s.report()
}

// report ends a torn line and writes how many lines were dropped.
func (s *sink) report() error {
	if !s.torn && s.lost == 0 {
		return nil
	}
	s.note = s.note[:0]
	if s.torn {
		s.note = append(s.note, '\n')
	}
	if s.lost > 0 {
		s.note = strconv.AppendInt(s.note, int64(s.lost), 10)
		if s.lost == 1 {
			s.note = append(s.note, " line dropped"...)
		} else {
			s.note = append(s.note, " lines dropped"...)
		}
		if s.reason != nil {
			s.note = append(s.note, ": "...)
			s.note = append(s.note, s.reason.Error()...)
		}
		s.note = append(s.note, '\n')
	}
	_, err := s.put(s.note)
	if err == nil {
		s.lost, s.reason = 0, nil
	}
	return err
}

// put writes p, and remembers an error and whether a line is torn.
func (s *sink) put(p []byte) (n int, err error) {
	n, err = s.stream.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if n > 0 {
		s.torn = p[n-1] != '\n'
	}
	if err != nil {
		s.reason = err
	}
	return n, err
}

// lines counts the line ends in p.
func lines(p []byte) int { return bytes.Count(p, []byte{'\n'}) }
