// Package slotmap keeps values under small numbers that are used again, such as descriptors,
// and finds them by keys that are never used again.
//
// An event of epoll(7) carries a tag. The descriptor alone is a bad tag: an event may be for
// a connection that was closed a moment ago, and the kernel may have given its descriptor to
// a new connection. A key is the index of a slot together with a count. To find a value costs
// two accesses to arrays. A Go map from keys to values would need several, and more memory.
package slotmap

import "iter"

// Slot is embedded in a value that a [Map] keeps. It holds the key of the value.
type Slot struct{ key uint64 }

// Key returns the key of the value, or 0 if the value was never put into a Map.
func (s *Slot) Key() uint64 { return s.key }

func (s *Slot) slot() *Slot { return s }

// Value is a pointer to a struct that embeds [Slot].
type Value interface {
	comparable
	slot() *Slot
}

// Map holds a value in each slot that is in use. The zero Map is empty. A Map is not safe for
// concurrent use.
type Map[V Value] struct {
	blocks []*[blockSize]V // the slot with index i is in blocks[i/blockSize]; nil if no such slot was used
	count  uint32          // how many values were put, modulo 2^32
}

// blockSize is how many slots are allocated together. A Map that grew as a slice does would
// copy its slots, and leave the copies to the garbage collector.
const blockSize = 512

// Put puts v into the slot with this index, and gives v a key. The index may be the descriptor of
// a connection. It is at least 0 and less than 2^31, and its slot must not be in use. Keys are
// greater than math.MaxUint32. A key is used again only after 2^32 calls of Put.
func (m *Map[V]) Put(index int, v V) {
	for index/blockSize >= len(m.blocks) {
		m.blocks = append(m.blocks, nil)
	}
	b := &m.blocks[index/blockSize]
	if *b == nil {
		*b = new([blockSize]V)
	}
	if m.count++; m.count == 0 {
		m.count = 1
	}
	v.slot().key = uint64(m.count)<<32 | uint64(index)
	(*b)[index%blockSize] = v
}

// find returns the slot of the value with this key, or nil if there is no such value.
func (m *Map[V]) find(key uint64) *V {
	index := uint32(key)
	if index/blockSize >= uint32(len(m.blocks)) || m.blocks[index/blockSize] == nil {
		return nil
	}
	var none V
	v := &m.blocks[index/blockSize][index%blockSize]
	if *v == none || (*v).slot().key != key {
		return nil
	}
	return v
}

// Get returns the value with this key. It returns the zero V if the value was deleted, or if no
// value ever had the key.
func (m *Map[V]) Get(key uint64) (v V) {
	if s := m.find(key); s != nil {
		v = *s
	}
	return v
}

// At returns the value in the slot with this index, or the zero V if the slot is not in use.
func (m *Map[V]) At(index int) (v V) {
	if index >= 0 && index/blockSize < len(m.blocks) && m.blocks[index/blockSize] != nil {
		v = m.blocks[index/blockSize][index%blockSize]
	}
	return v
}

// Delete removes the value with this key, if it is there.
func (m *Map[V]) Delete(key uint64) {
	if s := m.find(key); s != nil {
		var none V
		*s = none
	}
}

// All yields all values. The body of the caller's loop may delete and put values. A value
// that it puts may be yielded or not.
func (m *Map[V]) All() iter.Seq[V] {
	return func(yield func(V) bool) {
		var none V
		for i := 0; i < len(m.blocks)*blockSize; i++ {
			b := m.blocks[i/blockSize]
			if b == nil {
				i += blockSize - 1
			} else if v := b[i%blockSize]; v != none && !yield(v) {
				return
			}
		}
	}
}
