package deadline

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"
)

const classes = 8 // of the sets in these tests

// start has a monotonic reading, like the times that an event loop uses.
var start = time.Now()

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func after(n int) time.Time { return start.Add(ms(n)) }

func (e *Entry[T]) armed() bool { return e.list != nil }

func TestEmpty(t *testing.T) {
	s := NewSet[int](classes)
	var e Entry[int]
	e.Remove()
	if e.armed() || s.Timeout(start) != -1 {
		t.Error("an empty Set has a deadline")
	}
	for range s.Expired(after(1e9)) {
		t.Error("an empty Set has an expired entry")
	}
}

func TestTimeout(t *testing.T) {
	s := NewSet[int](classes)
	var e Entry[int]
	for _, tt := range []struct{ left, want time.Duration }{
		{-time.Hour, 0},
		{0, 0},
		{1, 1},
		{time.Minute, time.Minute},
	} {
		s.Push(0, &e, start.Add(tt.left))
		if got := s.Timeout(start); got != tt.want {
			t.Errorf("%v left: wait %v, want %v", tt.left, got, tt.want)
		}
	}
}

// A connection that is served again with the same deadline keeps its place. It must not go
// to the back, after later entries, and must not cost a walk through the list.
func TestPushAgainKeepsThePlace(t *testing.T) {
	var l list[int]
	es := make([]Entry[int], 3)
	for i := range es {
		l.push(&es[i], ms(7))
	}
	l.push(&es[0], ms(7))
	if l.front != &es[0] {
		t.Error("an entry that is pushed with the same deadline loses its place")
	}
}

// The body of a loop over Expired may push and remove entries.
func TestPushAndRemoveWhileExpiring(t *testing.T) {
	s := NewSet[int](classes)
	es := make([]Entry[int], 6)
	for i := range es {
		es[i].Value = i
		s.Push(i%2, &es[i], after(i))
	}
	var got []int
	for e := range s.Expired(after(4)) {
		got = append(got, e.Value)
		if e.armed() {
			t.Error("an expired entry is still armed")
		}
		switch e.Value {
		case 0:
			es[2].Remove() // its connection was closed
			es[5].Remove()
			s.Push(0, &es[3], after(100)) // its connection was answered
			s.Push(1, e, after(0))        // has expired already: left for the next call
		case 1:
			s.Push(3, e, after(50))
		}
	}
	if want := []int{0, 1, 4}; !slices.Equal(got, want) {
		t.Errorf("expired: %v, want %v", got, want)
	}
	got = nil
	for e := range s.Expired(after(50)) {
		got = append(got, e.Value)
	}
	if want := []int{0, 1}; !slices.Equal(got, want) {
		t.Errorf("expired in the next call: %v, want %v", got, want)
	}
	if wait := s.Timeout(start); wait != ms(100) {
		t.Errorf("Timeout: %v, want %v", wait, ms(100))
	}
}

// After a break, the next call of Expired goes on with the entries that are still due.
func TestBreakWhileExpiring(t *testing.T) {
	s := NewSet[int](classes)
	es := make([]Entry[int], 3)
	for i := range es {
		es[i].Value = i
		s.Push(0, &es[i], after(i))
	}
	for range s.Expired(after(2)) {
		break
	}
	if wait := s.Timeout(start); wait != ms(1) {
		t.Errorf("Timeout: %v, want %v", wait, ms(1))
	}
	var got []int
	for e := range s.Expired(after(2)) {
		got = append(got, e.Value)
	}
	if want := []int{1, 2}; !slices.Equal(got, want) {
		t.Errorf("expired: %v, want %v", got, want)
	}
}

// TestSetModel compares a Set with a map, over random operations.
func TestSetModel(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		s := NewSet[int](classes)
		es := make([]Entry[int], 30)
		for i := range es {
			es[i].Value = i
		}
		model := map[int]time.Time{} // the deadlines of the armed entries
		now := 0
		for step := range 2000 {
			i := rnd.IntN(len(es))
			switch op := rnd.IntN(10); {
			case op < 5: // as usual, all time-outs of a class are equally long
				class := rnd.IntN(classes)
				at := after(now + 10*(class+1))
				s.Push(class, &es[i], at)
				model[i] = at
			case op < 6: // any order
				at := after(now + rnd.IntN(100) - 20)
				s.Push(rnd.IntN(classes), &es[i], at)
				model[i] = at
			case op < 8:
				es[i].Remove()
				delete(model, i)
			default:
				now += rnd.IntN(20)
				var last time.Time
				for e := range s.Expired(after(now)) {
					at, ok := model[e.Value]
					if !ok || at.After(after(now)) || !origin.Add(e.at).Equal(at) {
						t.Fatalf("seed %d, step %d: entry %d expires, and the model has %v, %v", seed, step, e.Value, at, ok)
					}
					if at.Before(last) {
						t.Fatalf("seed %d, step %d: entries expire out of order", seed, step)
					}
					last = at
					delete(model, e.Value)
				}
			}
			var earliest time.Time
			for i, at := range model {
				if !es[i].armed() {
					t.Fatalf("seed %d, step %d: entry %d is not armed", seed, step, i)
				}
				if earliest.IsZero() || at.Before(earliest) {
					earliest = at
				}
			}
			before := after(-1000) // earlier than all deadlines
			wait := s.Timeout(before)
			if armed := wait >= 0; armed != (len(model) > 0) || armed && !before.Add(wait).Equal(earliest) {
				t.Fatalf("seed %d, step %d: Timeout: %v, and the model has %v", seed, step, wait, earliest)
			}
			if wait >= 0 && before.Add(wait).Before(after(now-100)) {
				t.Fatalf("seed %d, step %d: an entry has not expired in time", seed, step)
			}
		}
	}
}

// TestListModel compares the order of a list with a slice, over random operations: times
// that rise, that fall and that are mixed, equal times, and removals of the entry at which
// a search begins.
func TestListModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var l list[int]
		es := make([]Entry[int], 40)
		var model []int // in the order of the list
		remove := func(i int) {
			es[i].Remove()
			model = slices.DeleteFunc(model, func(j int) bool { return j == i })
		}
		last, at := 0, 50
		for range 1000 {
			i := rnd.IntN(len(es))
			switch op := rnd.IntN(10); {
			case op < 2:
				remove(i)
			case op < 4: // often the entry at which the next search would begin
				remove(last)
			default:
				switch seed % 4 {
				case 0: // rising
					at = (at + rnd.IntN(3)) % 100
				case 1: // falling
					at = (at + 100 - rnd.IntN(3)) % 100
				default: // mixed, with many equal times
					at = rnd.IntN(10)
				}
				if es[i].armed() && es[i].at == ms(at) {
					continue // it would keep its place
				}
				remove(i)
				l.push(&es[i], ms(at))
				last = i
				place := len(model)
				for place > 0 && es[model[place-1]].at > ms(at) {
					place--
				}
				model = slices.Insert(model, place, i)
			}
		}
		for n, i := range model {
			if l.front != &es[i] {
				t.Fatalf("seed %d: entry %d of the list and of the model differ", seed, n)
			}
			l.front.Remove()
		}
		if l.front != nil {
			t.Fatalf("seed %d: the list has more entries than the model", seed)
		}
	}
}

// Entries that are sorted in must not each cost a walk through the list, which would be 200
// million steps here. The test compares their time with that of entries that go to the back.
func TestBatchCostsOneWalk(t *testing.T) {
	const n = 20_000
	push := func(at func(i int) int) time.Duration {
		best := time.Hour
		for range 3 { // take the best of 3: the machine may be busy with something else
			var l list[int]
			there, batch := make([]Entry[int], n), make([]Entry[int], n)
			for i := range there {
				l.push(&there[i], ms(2*i))
			}
			begin := time.Now()
			for i := range batch {
				l.push(&batch[i], ms(at(i)))
				if i%100 == 0 { // meanwhile other entries go to the back
					l.push(&there[i], ms(2*n+i))
				}
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	back := push(func(i int) int { return 4*n + i })
	for name, at := range map[string]func(i int) int{
		"rising":  func(i int) int { return 2*i + 1 },
		"falling": func(i int) int { return 2*(n-i) - 1 },
	} {
		if took := push(at); took > 50*back {
			t.Errorf("%s: %d entries take %v; entries that go to the back take %v", name, n, took, back)
		} else {
			t.Logf("%s: %v, to the back: %v", name, took, back)
		}
	}
}

func TestFrontAndBack(t *testing.T) {
	s := NewSet[int](classes)
	if s.Front(1) != nil || s.Back(1) != nil {
		t.Error("an empty class has a front or a back")
	}
	es := make([]Entry[int], 3)
	for i := range es {
		s.Push(1, &es[i], after(i))
	}
	if s.Front(1) != &es[0] || s.Back(1) != &es[2] || s.Front(0) != nil {
		t.Error("Front or Back returns a wrong entry")
	}
}

// An idle connection may need 250 bytes in all. Its deadline may need 40 of them.
func TestSize(t *testing.T) {
	if n := unsafe.Sizeof(Entry[*int]{}); n > 40 {
		t.Errorf("an entry has %d bytes", n)
	}
}

func TestAllocatesNothing(t *testing.T) {
	s := NewSet[int](classes)
	es := make([]Entry[int], 100)
	now := 0
	if n := testing.AllocsPerRun(100, func() {
		for i := range es {
			s.Push(i%classes, &es[i], after(now))
		}
		now++
		for e := range s.Expired(after(now)) {
			s.Push(0, e, after(now+1))
		}
		s.Timeout(after(now))
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPush(b *testing.B) {
	s := NewSet[int](classes)
	es := make([]Entry[int], 10_000)
	i, now := 0, start
	for b.Loop() {
		now = now.Add(time.Microsecond)
		s.Push(1, &es[i], now.Add(10*time.Second))
		if i++; i == len(es) {
			i = 0
		}
	}
}

// BenchmarkBatch sorts entries into a list of 9,000, latest first, as when another loop has
// given them away.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{64, 9000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			there, batch := make([]Entry[int], 9000), make([]Entry[int], n)
			for b.Loop() {
				var l list[int]
				for i := range there {
					there[i] = Entry[int]{}
					l.push(&there[i], time.Duration(2*i))
				}
				begin := time.Now()
				for i := range batch {
					batch[i] = Entry[int]{}
					l.push(&batch[i], time.Duration(2*(9000-i*9000/n)-1))
				}
				b.ReportMetric(float64(time.Since(begin).Microseconds()), "µs/batch")
			}
		})
	}
}
