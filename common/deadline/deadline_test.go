package deadline_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"fourways.example/common/deadline"
)

// start has a monotonic reading, like the times that an event loop works with.
var start = time.Now()

func after(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func Example() {
	const idle, head = 0, 1
	type conn struct {
		name  string
		timer deadline.Entry[*conn]
	}
	var timers deadline.Set[*conn]
	now := time.Now()
	for _, name := range []string{"a", "b", "c"} {
		c := &conn{name: name}
		c.timer.Value = c
		timers.Push(idle, &c.timer, now.Add(5*time.Second))
		if name == "b" { // a request begins
			timers.Push(head, &c.timer, now.Add(10*time.Second))
		}
	}
	fmt.Println(timers.Timeout(now))
	for e := range timers.Expired(now.Add(5 * time.Second)) {
		fmt.Println("too late:", e.Value.name)
	}
	fmt.Println(timers.Timeout(now))
	// Output:
	// 5s
	// too late: a
	// too late: c
	// 10s
}

func ExampleList() {
	var l deadline.List[string]
	first, second := deadline.Entry[string]{Value: "first"}, deadline.Entry[string]{Value: "second"}
	now := time.Now()
	l.Push(&first, now)
	l.Push(&second, now.Add(time.Second))
	l.Push(&first, now.Add(2*time.Second)) // to the end of the queue
	fmt.Println(l.Front().Value)
	l.Front().Remove()
	fmt.Println(l.Front().Value)
	// Output:
	// second
	// first
}

func TestZero(t *testing.T) {
	var s deadline.Set[int]
	var e deadline.Entry[int]
	e.Remove()
	if _, ok := s.Next(); ok || e.Armed() || s.Timeout(start) != -1 {
		t.Error("the zero Set has a deadline")
	}
	for range s.Expired(after(1e9)) {
		t.Error("the zero Set has an expired entry")
	}
}

func TestTimeout(t *testing.T) {
	var s deadline.Set[int]
	var e deadline.Entry[int]
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

// A connection that is served again with an unchanged deadline may not be sent to
// the back, behind later ones, nor cost a walk through all of them.
func TestPushAgainKeepsThePlace(t *testing.T) {
	var l deadline.List[int]
	es := make([]deadline.Entry[int], 3)
	for i := range es {
		l.Push(&es[i], after(7))
	}
	l.Push(&es[0], after(7))
	if l.Front() != &es[0] {
		t.Error("an unchanged deadline lost its place")
	}
}

func TestBodyMayDoAnything(t *testing.T) {
	var s deadline.Set[int]
	es := make([]deadline.Entry[int], 6)
	for i := range es {
		es[i].Value = i
		s.Push(i%2, &es[i], after(i))
	}
	var got []int
	for e := range s.Expired(after(4)) {
		got = append(got, e.Value)
		if e.Armed() {
			t.Error("an expired entry is still armed")
		}
		switch e.Value {
		case 0:
			es[2].Remove() // closed meanwhile
			es[5].Remove()
			s.Push(0, &es[3], after(100)) // got an answer meanwhile
			s.Push(1, e, after(0))        // expired again: next time
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
		t.Errorf("expired in the next sweep: %v, want %v", got, want)
	}
	if at, ok := s.Next(); !ok || !at.Equal(after(100)) {
		t.Errorf("the next is %v, %v", at, ok)
	}
}

func TestSweepLeftEarly(t *testing.T) {
	var s deadline.Set[int]
	es := make([]deadline.Entry[int], 3)
	for i := range es {
		es[i].Value = i
		s.Push(0, &es[i], after(i))
	}
	for range s.Expired(after(2)) {
		break
	}
	if at, ok := s.Next(); !ok || !at.Equal(after(1)) {
		t.Errorf("the next is %v, %v", at, ok)
	}
	var got []int
	for e := range s.Expired(after(2)) {
		got = append(got, e.Value)
	}
	if want := []int{1, 2}; !slices.Equal(got, want) {
		t.Errorf("expired: %v, want %v", got, want)
	}
}

// The lists against a map, over random operations.
func TestModel(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var s deadline.Set[int]
		es := make([]deadline.Entry[int], 30)
		for i := range es {
			es[i].Value = i
		}
		model := map[int]time.Time{} // the armed ones
		now := 0
		for step := range 2000 {
			i := rnd.IntN(len(es))
			switch op := rnd.IntN(10); {
			case op < 5: // the usual: a class has its time-out
				class := rnd.IntN(deadline.Classes)
				at := after(now + 10*(class+1))
				s.Push(class, &es[i], at)
				model[i] = at
			case op < 6: // any order whatever
				at := after(now + rnd.IntN(100) - 20)
				s.Push(rnd.IntN(deadline.Classes), &es[i], at)
				model[i] = at
			case op < 8:
				es[i].Remove()
				delete(model, i)
			default:
				now += rnd.IntN(20)
				var last time.Time
				for e := range s.Expired(after(now)) {
					at, ok := model[e.Value]
					if !ok || at.After(after(now)) || !e.At().Equal(at) {
						t.Fatalf("seed %d, step %d: %d expired, model says %v, %v", seed, step, e.Value, at, ok)
					}
					if at.Before(last) {
						t.Fatalf("seed %d, step %d: out of order", seed, step)
					}
					last = at
					delete(model, e.Value)
				}
			}
			var earliest time.Time
			for i, at := range model {
				if !es[i].Armed() {
					t.Fatalf("seed %d, step %d: %d is not armed", seed, step, i)
				}
				if earliest.IsZero() || at.Before(earliest) {
					earliest = at
				}
			}
			at, ok := s.Next()
			if ok != (len(model) > 0) || ok && !at.Equal(earliest) {
				t.Fatalf("seed %d, step %d: the next is %v, %v; model says %v", seed, step, at, ok, earliest)
			}
			if ok && at.Before(after(now-100)) {
				t.Fatalf("seed %d, step %d: overslept", seed, step)
			}
		}
	}
}

// The order of a list against a slice, over random operations that go near and far: batches
// that rise, fall or are mixed, equal times, removals of the entry that a search begins at.
func TestListModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var l deadline.List[int]
		es := make([]deadline.Entry[int], 40)
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
			case op < 4: // what was pushed last, often the entry that the next search would begin at
				remove(last)
			default:
				switch seed % 4 {
				case 0: // rising
					at = (at + rnd.IntN(3)) % 100
				case 1: // falling
					at = (at + 100 - rnd.IntN(3)) % 100
				default: // mixed, with many equal ones
					at = rnd.IntN(10)
				}
				if es[i].Armed() && es[i].At().Equal(after(at)) {
					continue // keeps its place
				}
				remove(i)
				l.Push(&es[i], after(at))
				last = i
				place := len(model)
				for place > 0 && es[model[place-1]].At().After(after(at)) {
					place--
				}
				model = slices.Insert(model, place, i)
			}
		}
		for n, i := range model {
			if l.Front() != &es[i] {
				t.Fatalf("seed %d: entry %d of the list is not the one of the model", seed, n)
			}
			l.Front().Remove()
		}
		if l.Front() != nil {
			t.Fatalf("seed %d: the list has more entries than the model", seed)
		}
	}
}

// A batch that is sorted in must not cost a walk through the list for each of its entries: that
// would be 200 million steps here. It is compared with as many entries that go to the back.
func TestBatchCostsOneWalk(t *testing.T) {
	const n = 20_000
	push := func(at func(i int) int) time.Duration {
		best := time.Hour
		for range 3 { // the machine may be busy with something else, but not each time
			var l deadline.List[int]
			there, batch := make([]deadline.Entry[int], n), make([]deadline.Entry[int], n)
			for i := range there {
				l.Push(&there[i], after(2*i))
			}
			begin := time.Now()
			for i := range batch {
				l.Push(&batch[i], after(at(i)))
				if i%100 == 0 { // meanwhile others go to the back
					l.Push(&there[i], after(2*n+i))
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
			t.Errorf("%s: a batch of %d takes %v, and %v where all go to the back", name, n, took, back)
		} else {
			t.Logf("%s: %v, and %v to the back", name, took, back)
		}
	}
}

func TestFrontAndBack(t *testing.T) {
	var s deadline.Set[int]
	if s.Front(1) != nil || s.Back(1) != nil {
		t.Error("an empty class has a front or a back")
	}
	es := make([]deadline.Entry[int], 3)
	for i := range es {
		s.Push(1, &es[i], after(i))
	}
	if s.Front(1) != &es[0] || s.Back(1) != &es[2] || s.Front(0) != nil {
		t.Error("the front or the back of a class is another entry")
	}
}

// An idle connection has 250 bytes for everything; its deadline takes 40 of them.
func TestSize(t *testing.T) {
	if n := unsafe.Sizeof(deadline.Entry[*int]{}); n > 40 {
		t.Errorf("an entry has %d bytes", n)
	}
}

func TestAllocatesNothing(t *testing.T) {
	var s deadline.Set[int]
	es := make([]deadline.Entry[int], 100)
	now := 0
	if n := testing.AllocsPerRun(100, func() {
		for i := range es {
			s.Push(i%deadline.Classes, &es[i], after(now))
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
	var s deadline.Set[int]
	es := make([]deadline.Entry[int], 10_000)
	i, now := 0, start
	for b.Loop() {
		now = now.Add(time.Microsecond)
		s.Push(1, &es[i], now.Add(10*time.Second))
		if i++; i == len(es) {
			i = 0
		}
	}
}

// BenchmarkBatch sorts a batch from another loop's list into a list of 9,000, latest first.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{64, 9000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			there, batch := make([]deadline.Entry[int], 9000), make([]deadline.Entry[int], n)
			for b.Loop() {
				var l deadline.List[int]
				for i := range there {
					there[i] = deadline.Entry[int]{}
					l.Push(&there[i], start.Add(time.Duration(2*i)))
				}
				begin := time.Now()
				for i := range batch {
					batch[i] = deadline.Entry[int]{}
					l.Push(&batch[i], start.Add(time.Duration(2*(9000-i*9000/n)-1)))
				}
				b.ReportMetric(float64(time.Since(begin).Microseconds()), "µs/batch")
			}
		})
	}
}
