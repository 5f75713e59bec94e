-- What every shard has before any table of the application: the fence's tables, the guard, the mover's step.
-- Specification: docs/sharding.md. Nothing here is ever made or dropped by a mover.

-- Which deployment this database belongs to, and as which shard. Written once, at the directory's first boot.
CREATE TABLE shard_identity (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  deployment TEXT NOT NULL,
  shard TEXT NOT NULL
);
--> statement-breakpoint
-- A slot with no row is not here.
CREATE TABLE slots (
  keyspace TEXT NOT NULL,
  slot TEXT NOT NULL CHECK (length(slot) = 4),
  state TEXT NOT NULL CHECK (state IN ('active', 'moving', 'fenced', 'importing', 'moved')),
  epoch INTEGER NOT NULL,
  move_id TEXT,
  PRIMARY KEY (keyspace, slot)
) WITHOUT ROWID;
--> statement-breakpoint
-- Which row changed while its slot was moving, not how. AUTOINCREMENT, or `seq` would restart after pruning.
CREATE TABLE slot_changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  move_id TEXT NOT NULL,
  tbl TEXT NOT NULL,
  pk TEXT NOT NULL
);
--> statement-breakpoint
-- The mover's own fence and its place: one row, for ever, whose step only rises.
CREATE TABLE mover (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  step INTEGER NOT NULL,
  open INTEGER NOT NULL DEFAULT 0 CHECK (open IN (0, 1)),
  move_id TEXT,
  cursors TEXT NOT NULL DEFAULT '{}'
);
--> statement-breakpoint
INSERT INTO mover (id, step) VALUES (1, 0);
--> statement-breakpoint
CREATE TRIGGER mover_stays BEFORE DELETE ON mover BEGIN SELECT RAISE(ABORT, 'MOVER_ROW_STAYS'); END;
--> statement-breakpoint
-- REPLACE deletes the row that is in its way without firing the trigger above.
CREATE TRIGGER mover_is_one BEFORE INSERT ON mover WHEN EXISTS (SELECT 1 FROM mover) BEGIN SELECT RAISE(ABORT, 'MOVER_ROW_STAYS'); END;
--> statement-breakpoint
CREATE TRIGGER mover_rises BEFORE UPDATE ON mover WHEN NEW.step < OLD.step OR NEW.id IS NOT OLD.id BEGIN SELECT RAISE(ABORT, 'MOVER_STEP_FELL'); END;
--> statement-breakpoint
-- INSERT INTO slot_guard aborts unless the slot takes writes here. It starts every batch that may write: an UPDATE
-- that meets no row fires no row trigger, and would report success on a stale route.
CREATE VIEW slot_guard AS SELECT keyspace, slot FROM slots;
--> statement-breakpoint
CREATE TRIGGER slot_guard_insert INSTEAD OF INSERT ON slot_guard WHEN (SELECT state FROM slots WHERE keyspace = NEW.keyspace AND slot = NEW.slot) IS NOT 'active' BEGIN SELECT (CASE (SELECT state FROM slots WHERE keyspace = NEW.keyspace AND slot = NEW.slot) WHEN 'moving' THEN NULL WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED') WHEN 'importing' THEN RAISE(ABORT, 'SLOT_FENCED') ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END); END;
--> statement-breakpoint
-- INSERT INTO mover_step aborts unless the step is the expected one, then raises it. It starts every batch of a mover.
CREATE VIEW mover_step AS SELECT step AS expected FROM mover;
--> statement-breakpoint
CREATE TRIGGER mover_step_insert INSTEAD OF INSERT ON mover_step BEGIN SELECT RAISE(ABORT, 'STEP_MISMATCH') WHERE (SELECT step FROM mover WHERE id = 1) IS NOT NEW.expected; UPDATE mover SET step = step + 1 WHERE id = 1; END;
