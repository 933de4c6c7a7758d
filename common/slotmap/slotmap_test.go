package slotmap

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type number struct {
	Slot
	n int
}

// put puts a new value, and returns it.
func put(m *Map[*number], index, n int) *number {
	v := &number{n: n}
	m.Put(index, v)
	return v
}

// An old key does not find the value that uses the slot now.
func TestOldKey(t *testing.T) {
	var m Map[*number]
	first := put(&m, 7, 1)
	m.Delete(first.Key())
	second := put(&m, 7, 2)
	if v := m.Get(first.Key()); v != nil {
		t.Errorf("the key of a deleted value finds %d", v.n)
	}
	m.Delete(first.Key())
	if m.Get(second.Key()) != second {
		t.Error("the second value is not found, after its predecessor was deleted twice")
	}
}

func TestAt(t *testing.T) {
	var m Map[*number]
	v := put(&m, blockSize+7, 5)
	for i, want := range map[int]*number{-1: nil, 0: nil, blockSize: nil, blockSize + 7: v, 3 * blockSize: nil} {
		if got := m.At(i); got != want {
			t.Errorf("slot %d: %v, want %v", i, got, want)
		}
	}
	if m.Delete(v.Key()); m.At(blockSize+7) != nil {
		t.Error("a deleted value is found")
	}
}

func TestUnknownKeys(t *testing.T) {
	var m Map[*number]
	for range 2 {
		for _, key := range []uint64{0, 1, 3, math.MaxUint32, math.MaxUint64, 1<<32 | 3, 1<<32 | 4, 1<<32 | 9999, 2<<32 | 3} {
			m.Delete(key)
			if v := m.Get(key); v != nil {
				t.Errorf("key %#x finds %d", key, v.n)
			}
		}
		m.Delete(put(&m, 3, 0).Key()) // its key is 1<<32 | 3
	}
}

// After 2^32 values, the count begins again, and no key is so small that a constant could be
// used beside the keys.
func TestCountOverflows(t *testing.T) {
	m := Map[*number]{count: math.MaxUint32}
	v := put(&m, 0, 5)
	if v.Key() <= math.MaxUint32 || m.Get(v.Key()) != v {
		t.Errorf("key %#x finds %v", v.Key(), m.Get(v.Key()))
	}
}

func TestAll(t *testing.T) {
	var m Map[*number]
	values := map[int]*number{}
	for _, i := range []int{9, 2, 5000, 0} {
		values[i] = put(&m, i, i)
	}
	var got []int
	for v := range m.All() {
		got = append(got, v.n)
		m.Delete(v.Key())
		if v.n == 2 {
			m.Delete(values[5000].Key())
		}
	}
	if diff := cmp.Diff([]int{0, 2, 9}, got); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
	for range m.All() {
		t.Fatal("a value is left")
	}
	put(&m, 1, 1)
	put(&m, 3, 3)
	n := 0
	for range m.All() {
		n++
		break
	}
	if n != 1 {
		t.Errorf("All goes on after break: %d values", n)
	}
}

// A Map agrees with a Go map.
func TestLikeMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var m Map[*number]
	want := map[uint64]*number{}
	var used [1500]uint64
	var old []uint64
	for step := range 200_000 {
		i := rnd.IntN(len(used))
		if key := used[i]; key != 0 {
			m.Delete(key)
			delete(want, key)
			old, used[i] = append(old, key), 0
		} else {
			v := put(&m, i, step)
			used[i] = v.Key()
			want[v.Key()] = v
		}
		probe := used[rnd.IntN(len(used))]
		if len(old) > 0 && step%2 == 0 {
			probe = old[rnd.IntN(len(old))]
		}
		if m.Get(probe) != want[probe] {
			t.Fatalf("step %d: key %#x finds %v, want %v", step, probe, m.Get(probe), want[probe])
		}
	}
	if n := len(slices.Collect(m.All())); n != len(want) {
		t.Errorf("All yields %d values, want %d", n, len(want))
	}
}
