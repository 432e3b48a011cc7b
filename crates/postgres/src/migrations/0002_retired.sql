-- What values begin with that nobody writes any more: ids of keys that another took the place of. A host that stood still for as long
-- as that took writes nothing that others could not read.
create table hypervisor_retired (begins bytea not null primary key);

-- Once this returns no commit is under way that wrote such a value, and none will be made.
create function hypervisor_retire(begins bytea) returns void language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'on', true);
    perform pg_advisory_xact_lock(7528171888757205362);
    insert into hypervisor_retired values (begins) on conflict do nothing;
    if not found then
        -- It may not have reached the disk yet.
        perform pg_logical_emit_message(true, 'hypervisor', '');
    end if;
end
$$;

-- The same as before, and it takes nothing that is retired.
-- Makes all the changes or none. Gives the place of the first row that has another version, or how high the versions of new
-- rows have to be where those that came are too old; null and null where everything was made. Changes come in the order of
-- their rows, so that two callers take rows in the same order; `places` says where each stood. `again`: the caller does not
-- know whether the first attempt was made.
create or replace function hypervisor_commit(
    tabs text[], keys bytea[], expected bigint[], versions bigint[], sealed_values bytea[], places int[],
    durable boolean, again boolean, out conflict int, out floor bigint
) language plpgsql as $$
declare
    total constant int := cardinality(tabs);
    clock constant bigint := extract(epoch from clock_timestamp()) * 1000000;
    is_made boolean;
    present bigint;
    retired bytea[];
begin
    -- Else it would go by what was retired before it waited for the lock.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'transactions are %, and have to be read committed: set default_transaction_isolation',
            current_setting('transaction_isolation');
    end if;
    perform set_config('synchronous_commit', case when durable then 'on' else 'off' end, true);
    -- Until the end of the transaction nothing is retired that it writes.
    perform pg_advisory_xact_lock_shared(7528171888757205362);
    retired := array(select r.begins from hypervisor_retired r);

    if again then
        is_made := true;
        for i in 1 .. total loop
            if sealed_values[i] is not null then
                is_made := is_made and exists (select from hypervisor_rows r where r.tab = tabs[i] and r.key = keys[i]
                    and r.version = versions[i] and r.sealed = sealed_values[i]);
            elsif expected[i] is not null then
                is_made := is_made and exists (select from hypervisor_deleted d where d.tab = tabs[i] and d.key = keys[i]
                    and d.version = expected[i]);
            end if;
        end loop;
        if is_made then
            if durable then
                perform pg_logical_emit_message(true, 'hypervisor', '');
            end if;
            return;
        end if;
    end if;

    for i in 1 .. total loop
        if substring(sealed_values[i] from 1 for 8) = any (retired) then
            raise exception 'retired' using errcode = 'HV002';
        end if;
        if total > 1 then
            present := null;
            select r.version into present from hypervisor_rows r where r.tab = tabs[i] and r.key = keys[i] for update;
            if present is distinct from expected[i] and (conflict is null or places[i] < conflict) then
                conflict := places[i];
            end if;
        end if;
        if expected[i] is null and sealed_values[i] is not null and versions[i] < clock - 30000000 then
            floor := clock;
        end if;
    end loop;
    if conflict is not null then
        floor := null;
        return;
    end if;
    if floor is not null then
        return;
    end if;

    for i in 1 .. total loop
        if expected[i] is null and sealed_values[i] is null then
            perform from hypervisor_rows r where r.tab = tabs[i] and r.key = keys[i];
            is_made := not found;
        elsif expected[i] is null then
            insert into hypervisor_rows (tab, key, version, sealed) values (tabs[i], keys[i], versions[i], sealed_values[i])
                on conflict do nothing;
            is_made := found;
            if is_made then
                select d.version into present from hypervisor_deleted d where d.tab = tabs[i] and d.key = keys[i];
                if found and present >= versions[i] then
                    raise exception '%', present using errcode = 'HV001';
                end if;
            end if;
        elsif sealed_values[i] is not null then
            update hypervisor_rows r set version = versions[i], sealed = sealed_values[i]
                where r.tab = tabs[i] and r.key = keys[i] and r.version = expected[i];
            is_made := found;
        else
            delete from hypervisor_rows r where r.tab = tabs[i] and r.key = keys[i] and r.version = expected[i];
            is_made := found;
            if is_made then
                insert into hypervisor_deleted as d (tab, key, version) values (tabs[i], keys[i], expected[i])
                    on conflict (tab, key) do update set version = greatest(d.version, excluded.version);
                delete from hypervisor_deleted where ctid = any (array(
                    select d.ctid from hypervisor_deleted d where d.version < clock - 60000000
                    order by d.version limit 16 for update skip locked));
            end if;
        end if;
        if not is_made and total = 1 then
            conflict := places[i];
            return;
        elsif not is_made then
            -- Somebody made it between the two loops.
            raise exception 'a row was made meanwhile' using errcode = 'serialization_failure';
        end if;
    end loop;
end
$$;
