-- A move's tail, and what is left of it at the end, is found without the changes of another move at the same shard: those of
-- one that settles stay until its purge.
CREATE INDEX slot_changes_by_move ON slot_changes (move_id, seq);
