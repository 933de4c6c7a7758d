package slotmap

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An old key does not find the value that uses the slot now.
func TestOldKey(t *testing.T) {
	var m Map[string]
	first, second := "first", "second"
	old := m.Put(7, &first)
	m.Delete(old)
	key := m.Put(7, &second)
	if m.Get(old) != nil {
		t.Errorf("the key of a deleted value finds %q", *m.Get(old))
	}
	m.Delete(old)
	if m.Get(key) != &second {
		t.Error("the second value is not found, after its predecessor was deleted twice")
	}
}

func TestAt(t *testing.T) {
	var m Map[int]
	v := 5
	key := m.Put(blockSize+7, &v)
	for i, want := range map[int]*int{-1: nil, 0: nil, blockSize: nil, blockSize + 7: &v, 3 * blockSize: nil} {
		if got := m.At(i); got != want {
			t.Errorf("slot %d: %v, want %v", i, got, want)
		}
	}
	if m.Delete(key); m.At(blockSize+7) != nil {
		t.Error("a deleted value is found")
	}
}

func TestUnknownKeys(t *testing.T) {
	var m Map[int]
	for range 2 {
		for _, key := range []uint64{0, 1, 3, math.MaxUint32, math.MaxUint64, 1<<32 | 3, 1<<32 | 4, 1<<32 | 9999, 2<<32 | 3} {
			m.Delete(key)
			if v := m.Get(key); v != nil {
				t.Errorf("key %#x finds %d", key, *v)
			}
		}
		m.Delete(m.Put(3, new(int))) // its key is 1<<32 | 3
	}
}

// After 2^32 values, the count begins again, and no key is so small that a constant could be
// used beside the keys.
func TestCountOverflows(t *testing.T) {
	m := Map[int]{count: math.MaxUint32}
	v := 5
	key := m.Put(0, &v)
	if key <= math.MaxUint32 || m.Get(key) != &v {
		t.Errorf("key %#x finds %v", key, m.Get(key))
	}
}

func TestAll(t *testing.T) {
	var m Map[int]
	keys := map[int]uint64{}
	for _, i := range []int{9, 2, 5000, 0} {
		keys[i] = m.Put(i, &i)
	}
	var got []int
	for v := range m.All() {
		got = append(got, *v)
		m.Delete(keys[*v])
		if *v == 2 {
			m.Delete(keys[5000])
		}
	}
	if diff := cmp.Diff([]int{0, 2, 9}, got); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
	for range m.All() {
		t.Fatal("a value is left")
	}
	m.Put(1, new(int))
	m.Put(3, new(int))
	for range m.All() {
		break
	}
}

// A Map agrees with a Go map.
func TestLikeMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var m Map[int]
	want := map[uint64]*int{}
	var used [1500]uint64
	var old []uint64
	for step := range 200_000 {
		i := rnd.IntN(len(used))
		if key := used[i]; key != 0 {
			m.Delete(key)
			delete(want, key)
			old, used[i] = append(old, key), 0
		} else {
			v := step
			used[i] = m.Put(i, &v)
			want[used[i]] = &v
		}
		probe := used[rnd.IntN(len(used))]
		if len(old) > 0 && step%2 == 0 {
			probe = old[rnd.IntN(len(old))]
		}
		if m.Get(probe) != want[probe] {
			t.Fatalf("step %d: key %#x finds %v, want %v", step, probe, m.Get(probe), want[probe])
		}
	}
	n := len(slices.Collect(m.All()))
	if n != len(want) {
		t.Errorf("All yields %d values, want %d", n, len(want))
	}
}
