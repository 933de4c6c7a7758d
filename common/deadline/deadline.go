// Package deadline keeps the time-outs of an event loop's connections.
//
// Each class of time-out (idle, head, body, …) lasts equally long for every connection, so
// whoever is armed last expires last: a list in order of arrival is sorted, and arming,
// disarming and finding the next one are each a few pointer writes. A heap would
// pay log n for each request, of each of 10,000 connections, to sort what is sorted.
//
// Nothing here is safe for concurrent use: an event loop owns its lists.
package deadline

import (
	"cmp"
	"iter"
	"time"
)

// origin makes a time 8 bytes long, where a time.Time is 24, without giving up its
// monotonic clock: a wall clock set back may not keep a connection open for a day.
var origin = time.Now()

// Entry is one deadline. It lies inside what it is the deadline of, so that arming
// allocates nothing. The zero Entry is not armed.
type Entry[T any] struct {
	// Value is whose deadline it is; set once, before the first Push.
	Value T

	next, prev *Entry[T]
	list       *List[T]      // the one that it is in, or nil
	at         time.Duration // since origin
}

// At is when the deadline is (or, if it is not armed, was last).
func (e *Entry[T]) At() time.Time { return origin.Add(e.at) }

// Armed tells whether the entry is in a list.
func (e *Entry[T]) Armed() bool { return e.list != nil }

// Remove disarms the entry, if it was armed.
func (e *Entry[T]) Remove() {
	l := e.list
	if l == nil {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.front = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.back = e.prev
	}
	if l.near == e {
		l.near = cmp.Or(e.prev, e.next)
	}
	e.next, e.prev, e.list = nil, nil, nil
}

// List holds the deadlines of one class, the earliest at the front. The zero List is
// empty and ready. A List must not be copied while it holds entries.
type List[T any] struct {
	front, back *Entry[T]
	near        *Entry[T] // the last one that did not go to the back, or its neighbour once it is gone; may be nil
}

// Push arms e for the time at, wherever it was before. It takes constant time
// if no deadline in the list is later than at, as is so where all are pushed with one and
// the same time-out, and also if nothing changes: a connection that is served again
// before the head it began is complete keeps its deadline, and its place. Other times are
// sorted in. A batch of them whose times rise or fall costs one walk through the list.
func (l *List[T]) Push(e *Entry[T], at time.Time) {
	d := at.Sub(origin)
	if e.list == l && e.at == d {
		return
	}
	e.Remove()
	e.at, e.list = d, l
	if e.prev = l.before(d); e.prev != nil {
		e.next = e.prev.next
		e.prev.next = e
	} else {
		e.next = l.front
		l.front = e
	}
	if e.next != nil {
		e.next.prev = e
		l.near = e
	} else {
		l.back = e
	}
}

// before is the last entry whose deadline is not after d, or nil if there is none. The
// search runs from two places in turn, so that it costs twice the shorter way at most:
// from the back, where nearly all belong, and from near, where the next of a batch does.
func (l *List[T]) before(d time.Duration) *Entry[T] {
	near := l.near
	e := l.back
	for ; e != nil && e.at > d; e = e.prev {
		switch {
		case near == nil:
		case near.at > d:
			if near = near.prev; near == nil {
				return nil
			}
		case near.next.at <= d: // near is not the back, whose deadline is after d
			near = near.next
		default:
			return near
		}
	}
	return e
}

// Front is the entry with the earliest deadline, or nil.
func (l *List[T]) Front() *Entry[T] { return l.front }

// Classes is how many lists a Set has.
const Classes = 8

// Set is one list for each class of time-out. An entry is in one of them at most, for a
// connection waits for one thing at a time. The zero Set is empty and ready; a
// Set must not be copied while it holds entries.
type Set[T any] struct {
	lists [Classes]List[T]
	due   List[T] // taken from lists by Expired and not yet handed out
}

// Push arms e in the list of that class, which is from 0 to Classes-1, and disarms it
// in any other.
func (s *Set[T]) Push(class int, e *Entry[T], at time.Time) { s.lists[class].Push(e, at) }

// Front is the entry of a class with the earliest deadline, or nil: the connection that has
// waited longest.
func (s *Set[T]) Front(class int) *Entry[T] { return s.lists[class].front }

// Back is the entry of a class with the latest deadline, or nil: the connection that was
// armed last.
func (s *Set[T]) Back(class int) *Entry[T] { return s.lists[class].back }

// Next is the earliest deadline of all; false if there is none.
func (s *Set[T]) Next() (time.Time, bool) {
	e := s.due.front
	for i := range s.lists {
		if f := s.lists[i].front; f != nil && (e == nil || f.at < e.at) {
			e = f
		}
	}
	if e == nil {
		return time.Time{}, false
	}
	return e.At(), true
}

// Timeout is how long the loop may wait in epoll_wait(2): the time until the earliest
// deadline, 0 if that is over, or -1 if there is none.
func (s *Set[T]) Timeout(now time.Time) time.Duration {
	at, ok := s.Next()
	if !ok {
		return -1
	}
	return max(at.Sub(now), 0)
}

// Expired yields every entry whose deadline is not after now, disarmed. The loop's
// body may do what it likes: push the entry again, or remove others, which then are not
// yielded. What it pushes is left for the next sweep even if it has expired already,
// so that a sweep ends.
func (s *Set[T]) Expired(now time.Time) iter.Seq[*Entry[T]] {
	return func(yield func(*Entry[T]) bool) {
		d := now.Sub(origin)
		for i := range s.lists {
			for e := s.lists[i].front; e != nil && e.at <= d; e = s.lists[i].front {
				s.due.Push(e, e.At())
			}
		}
		for e := s.due.front; e != nil; e = s.due.front {
			e.Remove()
			if !yield(e) {
				return // what is still due comes first in the next sweep
			}
		}
	}
}
