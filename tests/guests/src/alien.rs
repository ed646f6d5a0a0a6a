//! A component that needs what no toolcell offers.

wit_bindgen::generate!({
    inline: "
        package tests:alien;

        interface rockets {
            launch: func(target: string) -> bool;
        }

        world alien {
            import rockets;
            export fire: func(target: string) -> bool;
        }
    ",
});

struct Alien;

impl Guest for Alien {
    fn fire(target: String) -> bool {
        tests::alien::rockets::launch(&target)
    }
}

export!(Alien);
