// Package deadline keeps the time-outs of an event loop's connections.
//
// All time-outs of one class (idle, head, body, …) are equally long, so the deadline that
// was armed last nearly always expires last. A list in the order of arming is then sorted. To arm a
// deadline, to disarm it, and to find the earliest each take a few pointer operations. With
// a heap, each request would cost log n steps for n connections, to sort a sorted list.
//
// Nothing here is safe for concurrent use: each event loop has its own lists.
package deadline

import (
	"cmp"
	"iter"
	"time"
)

// origin is the zero of the times in entries. A duration since origin has 8 bytes, where a
// time.Time has 24. It still uses the monotonic clock, so a wall clock that is set back
// does not keep connections open.
var origin = time.Now()

// Entry is one deadline. It is a field of the thing that has the deadline, so that arming
// allocates nothing. The zero Entry is not armed.
type Entry[T any] struct {
	// Value is the thing that has the deadline. Set it once, before the first Push.
	Value T

	next, prev *Entry[T]
	list       *list[T]      // the list that has the entry, or nil if the entry is not armed
	at         time.Duration // since origin
}

// Remove disarms the entry if it is armed.
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

// list holds the deadlines of one class, the earliest at the front. The zero list is empty
// and ready to use. A list must not be copied while it holds entries.
type list[T any] struct {
	front, back *Entry[T]
	near        *Entry[T] // the last entry that was not pushed to the back; a neighbour if it has left; may be nil
}

// push arms e for the time at, and disarms it in any other list. It takes constant time if
// no deadline in the list is later, which is usual because all time-outs of a class are
// equally long. If e is in l with the same deadline, it keeps its place. An earlier
// deadline is sorted in. Many such deadlines, in rising or falling order, cost only one
// walk through the list together.
func (l *list[T]) push(e *Entry[T], at time.Duration) {
	if e.list == l && e.at == at {
		return
	}
	e.Remove()
	e.at, e.list = at, l
	if e.prev = l.before(at); e.prev != nil {
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

// before returns the last entry whose deadline is not after d, or nil if there is none. The
// search alternates between two starting points, so it takes at most twice the steps of the
// shorter way. One is the back, where nearly all deadlines belong. The other is near: when
// many deadlines are sorted in, the next one usually belongs there.
func (l *list[T]) before(d time.Duration) *Entry[T] {
	near := l.near
	e := l.back
	for ; e != nil && e.at > d; e = e.prev {
		switch {
		case near == nil:
		case near.at > d:
			if near = near.prev; near == nil {
				return nil
			}
		case near.next.at <= d: // there is a next: near is not the back, whose deadline is after d
			near = near.next
		default:
			return near
		}
	}
	return e
}

// Set holds a list for each class of time-outs. An entry is in at most one list, because a
// connection waits for one thing at a time. [NewSet] makes a Set.
type Set[T any] struct {
	lists []list[T] // by class
	due   list[T]   // taken out of lists by Expired, and not yielded yet
}

// NewSet returns an empty set with the classes from 0 to classes-1.
func NewSet[T any](classes int) *Set[T] { return &Set[T]{lists: make([]list[T], classes)} }

// Push arms e in the list of a class for the time at, and disarms it in any other list.
func (s *Set[T]) Push(class int, e *Entry[T], at time.Time) { s.lists[class].push(e, at.Sub(origin)) }

// Front returns the entry of a class with the earliest deadline, or nil if there is none.
func (s *Set[T]) Front(class int) *Entry[T] { return s.lists[class].front }

// Back returns the entry of a class with the latest deadline, or nil if there is none.
func (s *Set[T]) Back(class int) *Entry[T] { return s.lists[class].back }

// Timeout returns how long the event loop may wait in epoll_wait(2): the time until the
// earliest deadline, 0 if that has passed, or -1 if no entry is armed.
func (s *Set[T]) Timeout(now time.Time) time.Duration {
	e := s.due.front
	for i := range s.lists {
		if f := s.lists[i].front; f != nil && (e == nil || f.at < e.at) {
			e = f
		}
	}
	if e == nil {
		return -1
	}
	return max(e.at-now.Sub(origin), 0)
}

// Expired yields every entry whose deadline is not after now, and disarms it first. The
// body of the caller's loop may push the entry again, and may remove other entries, which
// are then not yielded. An entry that it pushes is left for the next call of Expired, even
// if its deadline has passed already, so the loop always ends. The entries of all lists are yielded
// in the order of their deadlines.
func (s *Set[T]) Expired(now time.Time) iter.Seq[*Entry[T]] {
	return func(yield func(*Entry[T]) bool) {
		d := now.Sub(origin)
		for i := range s.lists {
			for e := s.lists[i].front; e != nil && e.at <= d; e = s.lists[i].front {
				s.due.push(e, e.at)
			}
		}
		for e := s.due.front; e != nil; e = s.due.front {
			e.Remove()
			if !yield(e) {
				return // the next call begins with the entries that are still due
			}
		}
	}
}
