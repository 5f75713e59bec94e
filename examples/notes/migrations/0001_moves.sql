-- INSERT INTO slot_expectation aborts unless exactly `slots` slots of these ranges (JSON, [[first, last], …]) are in the
-- state and, where one is given, of the move. It ends every change of state that a mover makes: one that met other slots
-- than the move's, or met them in another state, is undone whole. State NULL counts the slots known here at all.
CREATE VIEW slot_expectation AS SELECT keyspace, slot AS ranges, state, move_id, epoch AS slots FROM slots;
--> statement-breakpoint
CREATE TRIGGER slot_expectation_insert INSTEAD OF INSERT ON slot_expectation BEGIN SELECT RAISE(ABORT, 'SLOT_STATE_UNEXPECTED') WHERE (SELECT count(*) FROM json_each(NEW.ranges) AS range CROSS JOIN slots ON slots.keyspace = NEW.keyspace AND slots.slot BETWEEN json_extract(range.value, '$[0]') AND json_extract(range.value, '$[1]') WHERE (NEW.state IS NULL OR slots.state = NEW.state) AND (NEW.move_id IS NULL OR slots.move_id = NEW.move_id)) IS NOT NEW.slots; END;
