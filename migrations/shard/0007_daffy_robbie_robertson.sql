CREATE INDEX `dead_letters_by_kind` ON `dead_letters` (`kind`,`died_at`,`id`);--> statement-breakpoint
CREATE INDEX `job_records_running` ON `job_records` (`kind`,`id`) WHERE state = 'running';