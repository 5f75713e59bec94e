CREATE TABLE `accounts` (
	`id` text PRIMARY KEY NOT NULL,
	`email` text NOT NULL,
	`email_verified_at` integer,
	`password_hash` text NOT NULL,
	`password_version` integer NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `mail_tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`purpose` text NOT NULL,
	`email` text NOT NULL,
	`secret_hash` text NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `mail_tokens_by_user` ON `mail_tokens` (`user_id`,`purpose`);--> statement-breakpoint
CREATE INDEX `mail_tokens_expiry` ON `mail_tokens` (`expires_at`);--> statement-breakpoint
CREATE TABLE `posts` (
	`id` text PRIMARY KEY NOT NULL,
	`author_id` text NOT NULL,
	`text` text NOT NULL,
	`created_at` integer NOT NULL,
	`edited_at` integer,
	`version` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `posts_by_author` ON `posts` (`author_id`,`id`);--> statement-breakpoint
CREATE TABLE `profiles` (
	`id` text PRIMARY KEY NOT NULL,
	`handle` text NOT NULL,
	`display_name` text NOT NULL,
	`bio` text NOT NULL,
	`created_at` integer NOT NULL,
	`version` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `claim_inbox` (
	`id` text PRIMARY KEY NOT NULL,
	`done_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `claim_inbox_done` ON `claim_inbox` (`done_at`);--> statement-breakpoint
CREATE TABLE `dead_letters` (
	`id` text PRIMARY KEY NOT NULL,
	`owner_id` text NOT NULL,
	`kind` text NOT NULL,
	`body` text NOT NULL,
	`error` text NOT NULL,
	`attempts` integer NOT NULL,
	`died_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `inbox` (
	`id` text PRIMARY KEY NOT NULL,
	`done_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `inbox_done` ON `inbox` (`done_at`);--> statement-breakpoint
CREATE TABLE `outbox` (
	`id` text PRIMARY KEY NOT NULL,
	`owner_id` text NOT NULL,
	`kind` text NOT NULL,
	`body` text NOT NULL,
	`state` text NOT NULL,
	`attempts` integer NOT NULL,
	`due_at` integer NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `outbox_due` ON `outbox` (`due_at`) WHERE state IN ('waiting', 'sent');--> statement-breakpoint
CREATE TABLE `sessions` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`secret_hash` text NOT NULL,
	`retry_secret_hash` text NOT NULL,
	`user_agent` text NOT NULL,
	`created_at` integer NOT NULL,
	`last_seen_at` integer NOT NULL,
	`idle_at` integer NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `sessions_by_user` ON `sessions` (`user_id`);--> statement-breakpoint
CREATE INDEX `sessions_by_idle` ON `sessions` (`idle_at`);--> statement-breakpoint
CREATE TABLE `claim_attempts` (
	`id` text PRIMARY KEY NOT NULL,
	`outcome` text NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `claim_attempts_barred` ON `claim_attempts` (`created_at`) WHERE outcome = 'barred';--> statement-breakpoint
CREATE TABLE `claims` (
	`key` text PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`owner_id` text NOT NULL,
	`attempt_id` text NOT NULL,
	`state` text NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `claims_reserved` ON `claims` (`expires_at`) WHERE state = 'reserved';--> statement-breakpoint
CREATE TABLE `idempotency_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`body_hmac` text NOT NULL,
	`user_id` text NOT NULL,
	`attempt_id` text NOT NULL,
	`status` integer NOT NULL,
	`answer` text NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `idempotency_keys_expiry` ON `idempotency_keys` (`expires_at`);
--> statement-breakpoint
CREATE TRIGGER accounts_fence_insert BEFORE INSERT ON "accounts"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."email" AS BLOB)), 0) + coalesce(length(CAST(NEW."email_verified_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."password_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."password_version" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."email" AS BLOB)), 0) + coalesce(length(CAST(NEW."email_verified_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."password_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."password_version" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'accounts', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER accounts_fence_update BEFORE UPDATE ON "accounts"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."email" AS BLOB)), 0) + coalesce(length(CAST(NEW."email_verified_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."password_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."password_version" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."email" AS BLOB)), 0) + coalesce(length(CAST(NEW."email_verified_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."password_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."password_version" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'accounts', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER accounts_fence_delete BEFORE DELETE ON "accounts"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'accounts', json_array(OLD."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER mail_tokens_fence_insert BEFORE INSERT ON "mail_tokens"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."purpose" AS BLOB)), 0) + coalesce(length(CAST(NEW."email" AS BLOB)), 0) + coalesce(length(CAST(NEW."secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."purpose" AS BLOB)), 0) + coalesce(length(CAST(NEW."email" AS BLOB)), 0) + coalesce(length(CAST(NEW."secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'mail_tokens', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER mail_tokens_fence_update BEFORE UPDATE ON "mail_tokens"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."purpose" AS BLOB)), 0) + coalesce(length(CAST(NEW."email" AS BLOB)), 0) + coalesce(length(CAST(NEW."secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."purpose" AS BLOB)), 0) + coalesce(length(CAST(NEW."email" AS BLOB)), 0) + coalesce(length(CAST(NEW."secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'mail_tokens', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER mail_tokens_fence_delete BEFORE DELETE ON "mail_tokens"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'mail_tokens', json_array(OLD."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER posts_fence_insert BEFORE INSERT ON "posts"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."author_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."text" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."edited_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."version" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."author_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."text" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."edited_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."version" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'posts', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER posts_fence_update BEFORE UPDATE ON "posts"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."author_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."text" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."edited_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."version" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."author_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."text" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."edited_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."version" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'posts', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER posts_fence_delete BEFORE DELETE ON "posts"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'posts', json_array(OLD."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER profiles_fence_insert BEFORE INSERT ON "profiles"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."handle" AS BLOB)), 0) + coalesce(length(CAST(NEW."display_name" AS BLOB)), 0) + coalesce(length(CAST(NEW."bio" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."version" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."handle" AS BLOB)), 0) + coalesce(length(CAST(NEW."display_name" AS BLOB)), 0) + coalesce(length(CAST(NEW."bio" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."version" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'profiles', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER profiles_fence_update BEFORE UPDATE ON "profiles"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."handle" AS BLOB)), 0) + coalesce(length(CAST(NEW."display_name" AS BLOB)), 0) + coalesce(length(CAST(NEW."bio" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."version" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."handle" AS BLOB)), 0) + coalesce(length(CAST(NEW."display_name" AS BLOB)), 0) + coalesce(length(CAST(NEW."bio" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."version" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'profiles', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER profiles_fence_delete BEFORE DELETE ON "profiles"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'profiles', json_array(OLD."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER claim_inbox_fence_insert BEFORE INSERT ON "claim_inbox"
WHEN (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."done_at" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."done_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'claim_inbox', json_array(NEW."id")
    FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER claim_inbox_fence_update BEFORE UPDATE ON "claim_inbox"
WHEN (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."done_at" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."done_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'claim_inbox', json_array(NEW."id")
    FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER claim_inbox_fence_delete BEFORE DELETE ON "claim_inbox"
WHEN (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'claim_inbox', json_array(OLD."id")
    FROM slots WHERE keyspace = 'claims' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER dead_letters_fence_insert BEFORE INSERT ON "dead_letters"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."body" AS BLOB)), 0) + coalesce(length(CAST(NEW."error" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempts" AS BLOB)), 0) + coalesce(length(CAST(NEW."died_at" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."body" AS BLOB)), 0) + coalesce(length(CAST(NEW."error" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempts" AS BLOB)), 0) + coalesce(length(CAST(NEW."died_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'dead_letters', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER dead_letters_fence_update BEFORE UPDATE ON "dead_letters"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."body" AS BLOB)), 0) + coalesce(length(CAST(NEW."error" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempts" AS BLOB)), 0) + coalesce(length(CAST(NEW."died_at" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."body" AS BLOB)), 0) + coalesce(length(CAST(NEW."error" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempts" AS BLOB)), 0) + coalesce(length(CAST(NEW."died_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'dead_letters', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER dead_letters_fence_delete BEFORE DELETE ON "dead_letters"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'dead_letters', json_array(OLD."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER inbox_fence_insert BEFORE INSERT ON "inbox"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."done_at" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."done_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'inbox', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER inbox_fence_update BEFORE UPDATE ON "inbox"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."done_at" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."done_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'inbox', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER inbox_fence_delete BEFORE DELETE ON "inbox"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'inbox', json_array(OLD."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER outbox_fence_insert BEFORE INSERT ON "outbox"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."body" AS BLOB)), 0) + coalesce(length(CAST(NEW."state" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempts" AS BLOB)), 0) + coalesce(length(CAST(NEW."due_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."body" AS BLOB)), 0) + coalesce(length(CAST(NEW."state" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempts" AS BLOB)), 0) + coalesce(length(CAST(NEW."due_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'outbox', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER outbox_fence_update BEFORE UPDATE ON "outbox"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."body" AS BLOB)), 0) + coalesce(length(CAST(NEW."state" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempts" AS BLOB)), 0) + coalesce(length(CAST(NEW."due_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."body" AS BLOB)), 0) + coalesce(length(CAST(NEW."state" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempts" AS BLOB)), 0) + coalesce(length(CAST(NEW."due_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'outbox', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER outbox_fence_delete BEFORE DELETE ON "outbox"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'outbox', json_array(OLD."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE VIEW session_guard AS SELECT id, expires_at AS now FROM sessions;
--> statement-breakpoint
CREATE TRIGGER session_guard_insert INSTEAD OF INSERT ON session_guard
WHEN NOT EXISTS (SELECT 1 FROM sessions WHERE id = NEW.id AND expires_at > NEW.now AND idle_at > NEW.now) BEGIN
  SELECT RAISE(ABORT, 'SESSION_ENDED');
END;
--> statement-breakpoint
CREATE TRIGGER sessions_fence_insert BEFORE INSERT ON "sessions"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."retry_secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_agent" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."last_seen_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."idle_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."retry_secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_agent" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."last_seen_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."idle_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'sessions', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER sessions_fence_update BEFORE UPDATE ON "sessions"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."retry_secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_agent" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."last_seen_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."idle_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."retry_secret_hash" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_agent" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."last_seen_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."idle_at" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'sessions', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER sessions_fence_delete BEFORE DELETE ON "sessions"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'sessions', json_array(OLD."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER claim_attempts_fence_insert BEFORE INSERT ON "claim_attempts"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."outcome" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."outcome" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'claim_attempts', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER claim_attempts_fence_update BEFORE UPDATE ON "claim_attempts"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."outcome" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."outcome" AS BLOB)), 0) + coalesce(length(CAST(NEW."created_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'claim_attempts', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER claim_attempts_fence_delete BEFORE DELETE ON "claim_attempts"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'claim_attempts', json_array(OLD."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER claims_fence_insert BEFORE INSERT ON "claims"
WHEN (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."key", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."key" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempt_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."state" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."key" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempt_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."state" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."key", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'claims', json_array(NEW."key")
    FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."key", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER claims_fence_update BEFORE UPDATE ON "claims"
WHEN (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."key", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."key" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempt_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."state" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144 OR NEW."key" IS NOT OLD."key" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."key" IS NOT OLD."key";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."key" AS BLOB)), 0) + coalesce(length(CAST(NEW."kind" AS BLOB)), 0) + coalesce(length(CAST(NEW."owner_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempt_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."state" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."key", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'claims', json_array(NEW."key")
    FROM slots WHERE keyspace = 'claims' AND slot = substr(NEW."key", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER claims_fence_delete BEFORE DELETE ON "claims"
WHEN (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(OLD."key", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'claims' AND slot = substr(OLD."key", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'claims', json_array(OLD."key")
    FROM slots WHERE keyspace = 'claims' AND slot = substr(OLD."key", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER idempotency_keys_fence_insert BEFORE INSERT ON "idempotency_keys"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."body_hmac" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempt_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."status" AS BLOB)), 0) + coalesce(length(CAST(NEW."answer" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144 BEGIN
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."body_hmac" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempt_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."status" AS BLOB)), 0) + coalesce(length(CAST(NEW."answer" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'idempotency_keys', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER idempotency_keys_fence_update BEFORE UPDATE ON "idempotency_keys"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4)) IS NOT 'active' OR coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."body_hmac" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempt_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."status" AS BLOB)), 0) + coalesce(length(CAST(NEW."answer" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144 OR NEW."id" IS NOT OLD."id" BEGIN
  SELECT RAISE(ABORT, 'PRIMARY_KEY_CHANGED') WHERE NEW."id" IS NOT OLD."id";
  SELECT RAISE(ABORT, 'ROW_TOO_LARGE') WHERE coalesce(length(CAST(NEW."id" AS BLOB)), 0) + coalesce(length(CAST(NEW."body_hmac" AS BLOB)), 0) + coalesce(length(CAST(NEW."user_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."attempt_id" AS BLOB)), 0) + coalesce(length(CAST(NEW."status" AS BLOB)), 0) + coalesce(length(CAST(NEW."answer" AS BLOB)), 0) + coalesce(length(CAST(NEW."expires_at" AS BLOB)), 0) > 262144;
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'idempotency_keys', json_array(NEW."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(NEW."id", 1, 4) AND state = 'moving';
END;
--> statement-breakpoint
CREATE TRIGGER idempotency_keys_fence_delete BEFORE DELETE ON "idempotency_keys"
WHEN (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4)) IS NOT 'active' BEGIN
  SELECT CASE (SELECT state FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4))
    WHEN 'active' THEN NULL
    WHEN 'moving' THEN NULL
    WHEN 'fenced' THEN RAISE(ABORT, 'SLOT_FENCED')
    WHEN 'importing' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_FENCED') END
    WHEN 'moved' THEN CASE (SELECT open FROM mover) WHEN 1 THEN NULL ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END
    ELSE RAISE(ABORT, 'SLOT_NOT_OWNED')
  END;
  INSERT INTO slot_changes (move_id, tbl, pk) SELECT coalesce(move_id, ''), 'idempotency_keys', json_array(OLD."id")
    FROM slots WHERE keyspace = 'users' AND slot = substr(OLD."id", 1, 4) AND state = 'moving';
END;
