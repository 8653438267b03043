//! The conformance suite of the filesystem's traits: every behaviour, on every backend.
//!
//! A backend is one line in `backends!`: a name, and a function that makes an empty
//! writable tree and whatever must live as long. A behaviour is a function of the tree, and
//! its name in `behaviours!` (one that is forgotten there is dead code, a warning).

mod backends {
    mod calls;
    pub mod dirs;
    pub mod driven;
    pub mod files;
    pub mod links;
    pub mod namespaces;
    pub mod readonly;
    pub mod renames;
    pub mod support;
    pub mod waiting;
    pub mod walks;
}

macro_rules! backends {
    ($($(#[$cfg:meta])* $backend:ident => $make:path;)*) => {
        $($(#[$cfg])* mod $backend { behaviours! { $make } })*
    };
}

macro_rules! behaviours {
    ($make:path) => {
        run! { $make, files:
            create_write_read
            create_refuses_what_exists
            read_and_write_only_as_opened
            truncate_cuts_and_open_does_not
            a_gap_reads_as_zeros
            an_empty_write_changes_nothing
            append_goes_to_the_end
            set_len_cuts_and_extends
            allocate_extends_and_never_cuts
            times_are_set_one_by_one
            changes_move_the_times
            stat_tells_one_file_from_another
            a_file_is_no_socket_and_no_directory
            a_file_has_no_children
            an_unlinked_file_lives_on
            huge_numbers_are_refused
            several_chunks_come_back
        }
        run! { $make, dirs:
            make_and_remove
            remove_refuses
            unlink_refuses
            a_directory_opens_for_reading_only
            an_open_directory_is_no_file
            nothing_grows_in_a_removed_directory
            listing_tells_names_kinds_and_inodes
            listing_goes_on_where_it_stopped
            cookies_survive_changes
            a_large_directory_is_listed_once
            names_are_any_utf8_up_to_255_bytes
            a_tree_seeds_memory
        }
        run! { $make, links:
            a_symbolic_link_keeps_its_text
            symlink_refuses
            a_link_is_not_opened_nor_followed
            a_hard_link_is_the_same_file
            a_hard_link_to_a_link_is_a_link
            link_refuses
            link_and_rename_stay_in_their_tree
        }
        run! { $make, renames:
            a_name_moves
            a_file_replaces_a_file
            a_directory_replaces_an_empty_one
            kinds_are_not_mixed
            a_directory_does_not_go_below_itself
            the_same_file_stays_as_it_is
            a_moved_directory_has_a_new_parent
            rename_refuses
            a_link_moves_as_itself
        }
        run! { $make, walks:
            names_lead_down
            bad_paths_have_their_errno
            dots_stay_below_the_start
            absolute_paths_are_refused
            slashes_at_the_end_want_a_directory
            links_are_followed_where_asked
            forty_links_and_no_more
            links_do_not_lead_out
            a_dangling_link_ends_at_its_target
            dot_dot_behind_a_link_is_the_parent_of_its_target
            a_directory_moved_away_leads_nowhere_else
            the_shortcut_arrives_where_the_walk_does
        }
        run! { $make, namespaces:
            preopens_come_in_order
            the_longest_mount_wins
            dot_dot_crosses_a_mount_point
            mounts_need_no_directory_there
            the_way_to_a_mount_is_made_when_it_is_changed
            what_is_no_directory_is_covered_on_the_way
            a_name_that_leads_to_a_mount_is_busy
            listing_shows_mounts
            mounts_are_told_apart
            links_cross_into_mounts
            what_is_no_directory_is_mounted_too
            mount_paths_are_checked
        }
        run! { $make, readonly:
            reading_goes_through
            nothing_changes
        }
    };
}

macro_rules! run {
    ($make:path, $module:ident: $($behaviour:ident)*) => {
        mod $module {
            $(#[test]
            fn $behaviour() {
                let (root, _guard) = $make();
                crate::backends::$module::$behaviour(&root);
            })*
        }
    };
}

backends! {
    mem => crate::backends::support::mem;
    waiting => crate::backends::driven::waiting;
    #[cfg(all(unix, feature = "host-fs"))]
    host => crate::backends::support::host;
    #[cfg(all(unix, feature = "host-fs"))]
    host_without_shortcut => crate::backends::support::host_without_shortcut;
}
