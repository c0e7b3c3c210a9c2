package gunzip

import (
	"cmp"
	"container/list"
	"slices"
	"sync"
)

// Index remembers restart points of many files, in bounded memory. If it gets too large, it forgets
// the file that was asked for least recently; points of one file too large all by itself are thinned
// out. It may be used by several goroutines at once.
type Index struct {
	limit int64

	mu    sync.Mutex
	size  int64
	files map[string]*list.Element
	order *list.List // of *indexed, the file used last in front
}

// indexed is what an Index knows of a file.
type indexed struct {
	key    string
	points []Point // by Out
	size   int64
}

// DefaultIndexSize is the limit of an Index, in bytes, unless it is told another.
const DefaultIndexSize = 64 << 20

// perFile is about what a file costs in an Index beside key and points.
const perFile = 256

// NewIndex returns an empty Index that takes about limit bytes at most, DefaultIndexSize if that is 0.
func NewIndex(limit int64) *Index {
	return &Index{limit: cmp.Or(limit, DefaultIndexSize), files: map[string]*list.Element{}, order: list.New()}
}

// Nearest returns the last known point of a file that is not behind the place out in its text. Key is
// what identifies the file, its content included: bucket, key and version or ETag. It returns the
// zero Point, which is the start of the file, and false if there is none.
func (x *Index) Nearest(key string, out int64) (Point, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	element, ok := x.files[key]
	if !ok {
		return Point{}, false
	}
	x.order.MoveToFront(element)
	points := fileOf(element).points
	i, found := slices.BinarySearchFunc(points, out, byOut)
	if found {
		return points[i], true
	}
	if i == 0 {
		return Point{}, false
	}
	return points[i-1], true
}

// Add remembers a point of a file, unless it is known.
func (x *Index) Add(key string, p Point) {
	x.mu.Lock()
	defer x.mu.Unlock()
	element, ok := x.files[key]
	if !ok {
		element = x.order.PushFront(&indexed{key: key})
		x.files[key] = element
		x.grow(element, int64(len(key))+perFile)
	}
	x.order.MoveToFront(element)
	file := fileOf(element)
	i, found := slices.BinarySearchFunc(file.points, p.Out, byOut)
	if found {
		return
	}
	file.points = slices.Insert(file.points, i, p)
	x.grow(element, p.Size())
	for x.size > x.limit && x.order.Len() > 1 {
		x.forget(x.order.Back())
	}
	for x.size > x.limit && len(file.points) > 0 {
		x.thin(element)
	}
	if x.size > x.limit {
		x.forget(element)
	}
}

// Size returns about how many bytes of memory the index takes.
func (x *Index) Size() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.size
}

// grow adds n bytes to the size of a file, and so of the index.
func (x *Index) grow(element *list.Element, n int64) {
	fileOf(element).size += n
	x.size += n
}

// forget drops a file.
func (x *Index) forget(element *list.Element) {
	file := fileOf(element)
	x.order.Remove(element)
	delete(x.files, file.key)
	x.size -= file.size
}

// thin drops every other point of a file, the first one included.
func (x *Index) thin(element *list.Element) {
	file := fileOf(element)
	kept := file.points[:0]
	for i, p := range file.points {
		if i%2 == 1 {
			kept = append(kept, p)
		} else {
			x.grow(element, -p.Size())
		}
	}
	clear(file.points[len(kept):])
	file.points = kept
}

func fileOf(element *list.Element) *indexed {
	return element.Value.(*indexed) //nolint:errcheck // the list holds nothing else
}

func byOut(p Point, out int64) int { return cmp.Compare(p.Out, out) }
