package parquet

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// groupRows is the number of rows of a row group that a Writer makes. It holds them in memory.
const groupRows = 100_000

// Writer writes rows as a Parquet file, compressed with zstd. It is not safe for concurrent use.
type Writer struct {
	w       *parquet.GenericWriter[any]
	columns []string
	values  []valueFunc
	row     [1]parquet.Row
	rows    int64 // written so far
}

// valueFunc makes the value of a column out of the text of a cell.
type valueFunc func(cell []byte) (parquet.Value, error)

// NewWriter returns a writer of a file with the columns named, all of which may be null. Those that
// an S3 Inventory names size, is_latest, is_delete_marker and last_modified_date have the types they
// have there: integer, boolean, boolean and timestamp in milliseconds; every other column is a string.
// Two columns of one name are an error.
func NewWriter(w io.Writer, columns []string) (*Writer, error) {
	own := &Writer{columns: slices.Clone(columns)}
	nodes := make(parquet.Group, len(columns))
	for _, name := range columns {
		node, value := columnType(name)
		own.values = append(own.values, value)
		nodes[name] = parquet.Optional(node)
	}
	if len(nodes) != len(columns) {
		return nil, fmt.Errorf("write parquet: two columns of one name in %q", columns)
	}
	root := inOrder{Group: nodes, fields: nodes.Fields()} // sorted by name
	slices.SortFunc(root.fields, func(a, b parquet.Field) int {
		return slices.Index(columns, a.Name()) - slices.Index(columns, b.Name())
	})
	own.w = parquet.NewGenericWriter[any](w, parquet.NewSchema("inventory", root),
		parquet.Compression(&zstd.Codec{}), parquet.MaxRowsPerRowGroup(groupRows))
	return own, nil
}

// inOrder is a group whose fields are not sorted by their names.
type inOrder struct {
	parquet.Group
	fields []parquet.Field
}

// Fields returns the fields in the order of the file.
func (g inOrder) Fields() []parquet.Field { return g.fields }

// columnType returns the type of a column, by its name.
func columnType(name string) (parquet.Node, valueFunc) {
	switch name {
	case "size":
		return parquet.Int(64), func(cell []byte) (parquet.Value, error) {
			n, err := strconv.ParseInt(string(cell), 10, 64)
			return parquet.Int64Value(n), err
		}
	case "is_latest", "is_delete_marker":
		return parquet.Leaf(parquet.BooleanType), func(cell []byte) (parquet.Value, error) {
			b, err := strconv.ParseBool(string(cell))
			return parquet.BooleanValue(b), err
		}
	case "last_modified_date":
		return parquet.Timestamp(parquet.Millisecond), func(cell []byte) (parquet.Value, error) {
			t, err := time.Parse(time.RFC3339, string(cell))
			return parquet.Int64Value(t.UnixMilli()), err
		}
	}
	return parquet.String(), nil
}

// Write adds a row: a cell for each column, nil for null. An empty cell is null too unless the column
// is a string. The cells may be reused after the call.
func (w *Writer) Write(cells [][]byte) error {
	if len(cells) != len(w.columns) {
		return fmt.Errorf("write parquet: row %d: %d cells for %d columns", w.rows+1, len(cells), len(w.columns))
	}
	row := w.row[0][:0]
	for i, cell := range cells {
		value, there := parquet.NullValue(), 0
		switch {
		case cell == nil, w.values[i] != nil && len(cell) == 0:
		case w.values[i] == nil:
			value, there = parquet.ByteArrayValue(cell), 1
		default:
			var err error
			if value, err = w.values[i](cell); err != nil {
				return fmt.Errorf("write parquet: row %d: column %s: %w", w.rows+1, w.columns[i], err)
			}
			there = 1
		}
		row = append(row, value.Level(0, there, i))
	}
	w.row[0] = row
	if _, err := w.w.WriteRows(w.row[:]); err != nil {
		return fmt.Errorf("write parquet: row %d: %w", w.rows+1, err)
	}
	w.rows++
	return nil
}

// Close writes the end of the file, without which it is none. It does not close the writer under it.
func (w *Writer) Close() error {
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("write parquet: %w", err)
	}
	return nil
}
